"""Paths in the checkout."""

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SCRATCH = ROOT / ".test"
"""The folder of temporary files of the tests. Git ignores it."""
