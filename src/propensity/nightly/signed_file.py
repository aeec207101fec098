"""JSON files with a checksum, so that a change by hand is found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from propensity.atomic import whole_file
from propensity.checksum import is_signed, signed
from propensity.errors import IntegrityError


def read_signed(file: Path, way_out: str) -> dict[str, Any]:
    """A JSON object with a checksum; IntegrityError if it is not what was written."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or not is_signed(content):
        raise IntegrityError(f"{file} was changed by hand or is damaged; {way_out}")
    return content


def write_signed(file: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object with a checksum, whole or not at all."""
    with whole_file(file) as draft:
        draft.write_text(json.dumps(signed(content), indent=1))
