"""Files of a bundle: compressed arrays and indented JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write a compressed .npz file.

    Parameters
    ----------
    path : Path
        File to write.
    arrays : mapping of str to ndarray
        Arrays by name.
    """
    content: dict[str, Any] = dict(arrays)
    np.savez_compressed(path, **content)


def write_json(path: Path, content: Any) -> None:
    """Write an indented JSON file.

    Parameters
    ----------
    path : Path
        File to write.
    content : Any
        Serialisable content.
    """
    path.write_text(json.dumps(content, indent=1) + "\n")
