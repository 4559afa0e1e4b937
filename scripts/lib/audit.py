"""Report known vulnerabilities in the service's dependencies, which pip-audit looks up in the package index."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent

TIMEOUT = 60
"""Seconds in total, so that a network that drops packets does not block it."""

VULNERABLE = 1
NOT_AUDITED = 3


def main() -> int:
    try:
        packages = audit(ROOT / "requirements.txt")
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        print(f"audit: NOT AUDITED, pip-audit could not ask: {error}", file=sys.stderr)
        return NOT_AUDITED
    vulnerable = [package for package in packages if package.get("vulns")]
    for package in vulnerable:
        for found in package["vulns"]:
            fixed = ", ".join(found["fix_versions"]) or "no version yet"
            print(f"audit: {package['name']} {package['version']}: {found['id']}, fixed in {fixed}", file=sys.stderr)
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    if unknown:
        print(f"audit: NOT AUDITED, the index knows nothing of {', '.join(unknown)}", file=sys.stderr)
    print(f"audit: {len(packages) - len(unknown)} of {len(packages)} packages audited, {len(vulnerable)} vulnerable")
    if vulnerable:
        return VULNERABLE
    return NOT_AUDITED if unknown else 0


def audit(requirements: Path) -> list[dict[str, Any]]:
    """Return pip-audit's report, a dict for each package. Raise the errors of json.loads() and subprocess.run()."""
    command = ["-m", "pip_audit", "--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off"]
    report = subprocess.run(
        [sys.executable, *command, "--requirement", str(requirements)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if not report.stdout:
        raise ValueError((report.stderr.strip().splitlines() or ["it said nothing"])[-1])
    packages: list[dict[str, Any]] = json.loads(report.stdout)["dependencies"]
    return packages


if __name__ == "__main__":
    sys.exit(main())
