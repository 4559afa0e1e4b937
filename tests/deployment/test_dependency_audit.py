"""scripts/audit: neither a vulnerability nor a missing answer of the index passes as a clean result."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import audit
import pytest

CLEAN = {"name": "starlette", "version": "1.10.0", "vulns": []}
VULNERABLE = {"name": "h11", "version": "0.1", "vulns": [{"id": "CVE-2025-43859", "fix_versions": ["0.16.0"], "aliases": []}]}
UNKNOWN = {"name": "uvloop", "skip_reason": "Dependency not found on PyPI and could not be audited: uvloop (0.23.0)"}


@pytest.mark.parametrize(
    ("report", "status", "words"),
    [
        ([CLEAN], 0, "1 of 1 packages audited, 0 vulnerable"),
        ([CLEAN, VULNERABLE], 1, "h11 0.1: CVE-2025-43859, fixed in 0.16.0"),
        ([CLEAN, UNKNOWN], 3, "NOT AUDITED, the index knows nothing of uvloop"),
        ([VULNERABLE, UNKNOWN], 1, "1 of 2 packages audited, 1 vulnerable"),
    ],
    ids=["clean", "vulnerable", "unknown", "vulnerable and unknown"],
)
def test_what_pip_audit_reports_is_what_the_status_says(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    report: list[dict[str, Any]],
    status: int,
    words: str,
) -> None:
    def reported(_: Path) -> list[dict[str, Any]]:
        return report

    monkeypatch.setattr(audit, "audit", reported)

    assert audit.main() == status
    assert words in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    "run",
    [
        lambda *_, **__: subprocess.CompletedProcess([], 1, "", "Traceback ...\nConnectionError: no route to host\n"),
        lambda command, **_: (_ for _ in ()).throw(subprocess.TimeoutExpired(command, audit.TIMEOUT)),
    ],
    ids=["no network", "a network that swallows packets"],
)
def test_an_index_that_cannot_be_asked_is_no_clean_record(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    monkeypatch.setattr(subprocess, "run", run)

    assert audit.main() == audit.NOT_AUDITED
    assert "NOT AUDITED" in capsys.readouterr().err
