"""Schemathesis on the application in this process: every answer is in the contract, and no lead is lost.

test_schemathesis_cli.py does the same from the command line, and also within office hours, where every answer is a refusal.

schemathesis.toml enables all phases and all checks. This test runs the engine of the command line: the decorators for pytest
support only three of the four phases, and none of them uses the results of earlier phases.
"""

from __future__ import annotations

from collections import Counter

import pytest
import schemathesis
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events
from schemathesis.engine.recorder import ScenarioRecorder
from starlette.applications import Starlette
from support.api import KEY, PATHS
from support.fixtures import ReadSettings
from support.fuzzed import LINKS, Leads
from support.paths import ROOT
from support.tables import Tables

from service.app import create_app


class Run:
    """A run of Schemathesis on an application: its findings, and the number of answers to archive requests by status."""

    def __init__(self, app: Starlette) -> None:
        config = SchemathesisConfig.from_path(ROOT / "schemathesis.toml")
        schema = schemathesis.openapi.from_asgi("/openapi.yaml", app, config=config)
        for path, links in LINKS.items():
            schema.raw_schema["paths"][path]["post"]["responses"]["200"].setdefault("links", {}).update(links)
        schema.config.update(headers={"Authorization": f"Key={KEY}"})
        self.phases: set[str] = set()
        self.paths: set[str] = set()
        self.problems: list[str] = []
        self.answers: Counter[int] = Counter()
        for event in engine.from_schema(schema).execute():
            match event:
                case events.ScenarioFinished():
                    self._read(event.recorder)
                case events.PhaseFinished() if event.status == engine.Status.SUCCESS:
                    self.phases.add(event.phase.name.value)
                case events.SchemaAnalysisWarnings():
                    self.problems += [f"{warning.kind}: {warning.message}" for warning in event.warnings]
                case events.NonFatalError():
                    self.problems.append(f"{event.label}: {event.value}")
        if self.problems:
            self.problems.append(f"the seed was {schema.config.seed}")

    def _read(self, recorder: ScenarioRecorder) -> None:
        for case_id, interaction in recorder.interactions.items():
            path = recorder.cases[case_id].value.path
            self.paths.add(path)
            if path == "/vicidial/leads/archive" and interaction.response:
                self.answers[interaction.response.status_code] += 1
        for checks in recorder.checks.values():
            self.problems += [
                f"{check.name}: {info.failure.title}\n{info.failure.message}\n{info.code_sample}"
                for check in checks
                if (info := check.failure_info)
            ]


@pytest.mark.parametrize("configuration", [{}, {"LEAD_IDS_LIMIT": "3"}], ids=["normal", "a limit of 3"])
def test_every_answer_is_in_the_contract_and_no_lead_is_lost(
    tables: Tables, settings_from: ReadSettings, environment: dict[str, str], configuration: dict[str, str]
) -> None:
    with Leads(tables) as leads:
        run = Run(create_app(settings_from({**environment, **configuration})))

    assert not run.problems, "\n\n".join(run.problems)
    assert run.phases >= {"examples", "coverage", "fuzzing", "stateful"}
    assert run.paths == set(PATHS)
    assert leads.lost == {}
    # Correct answers prove little if nearly all of them are early refusals. The requests differ in each run: from a third to
    # two thirds of them name an existing lead.
    assert run.answers[200] > run.answers.total() / 10
