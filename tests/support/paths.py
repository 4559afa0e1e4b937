"""Where things are in the checkout."""

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SCRATCH = ROOT / ".test"
"""For what tests leave behind only while they run. Ignored by git."""
