"""The Vicidial Lead Archive API: moves leads from vicidial_list to vicidial_list_archive without ever losing one."""

from pathlib import Path

__version__ = "0.1.0"


def resource_path(name: str) -> Path:
    """Return the path of a file or folder that ships with the code: in the installed package, or at the top of a checkout."""
    packaged = Path(__file__).parent / name
    return packaged if packaged.exists() else Path(__file__).parent.parent / name
