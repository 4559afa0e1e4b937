"""The service's own statements, as `python -m service sql` prints them: the same compare, without a look for leads in use."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmark.data import ROOT
from benchmark.service_process import environment

MARK = "4294967295"
"""The lead id that is printed, where the ids of a batch are to go."""


@dataclass(frozen=True)
class Script:
    session: str
    statements: dict[str, str]
    """By what they do, in the order in which the service sends them."""

    @classmethod
    def read(cls, database_url: str, folder: Path) -> Script:
        """folder keeps what the service needs to start."""
        printed = subprocess.run(
            [sys.executable, "-m", "service", "sql", MARK],
            cwd=ROOT,
            env={**environment(database_url, folder, "nobody calls"), "LEADS_IN_USE": "ignore"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        session, _, *statements = [statement.strip() for statement in printed.split(";\n")]
        beginnings = {
            "select live ids": "SELECT lead_id\nFROM ",
            "select archived ids": "SELECT GROUP_CONCAT(",
            "insert-ignore": "INSERT IGNORE INTO ",
            "update-join": "UPDATE IGNORE ",
            "compare-delete": "DELETE source\n",
        }
        return cls(
            session,
            {
                name: next(statement for statement in statements if statement.startswith(beginning))
                for name, beginning in beginnings.items()
            },
        )

    def statement(self, name: str, lead_ids: str) -> str:
        return self.statements[name].replace(MARK, lead_ids)

    def limit(self, lead_ids: str) -> str:
        """The three statements that archive a batch, in one transaction."""
        names = ("insert-ignore", "update-join", "compare-delete")
        statements = "".join(f"{self.statement(name, lead_ids)};\n" for name in names)
        return f"START TRANSACTION;\n{statements}COMMIT;\n"


def documented(lead_ids: str) -> str:
    """What Vicidial's documentation tells the administrator to run, here for a batch."""
    return (
        f"INSERT IGNORE INTO vicidial_list_archive SELECT * FROM vicidial_list WHERE lead_id IN ({lead_ids});\n"
        f"DELETE FROM vicidial_list WHERE lead_id IN ({lead_ids});\n"
    )
