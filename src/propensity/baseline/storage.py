"""Files of a candidate: JSON and NumPy arrays, read without calling anything that a file names."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from propensity.atomic import whole_file
from propensity.baseline.pair_table import Columns
from propensity.errors import ConfigurationError, IntegrityError
from propensity.ingest.source.unfold import check_arrays

T = TypeVar("T")
DAMAGES = (
    *(ValueError, TypeError, LookupError, AttributeError, EOFError, OSError, MemoryError, ArithmeticError),
    *(zipfile.BadZipFile, zlib.error, NotImplementedError),
)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a mapping of plain values; floats keep all their digits."""
    with whole_file(path) as draft:
        draft.write_text(json.dumps(content, indent=1, allow_nan=False))


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays by name into one .npz file."""
    with whole_file(path) as draft, draft.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_json(path: Path) -> dict[str, Any]:
    """Reads a mapping.

    Raises
    ------
    ConfigurationError
        If there is no such file.
    IntegrityError
        If it is not a JSON object.
    """
    content = read(path, lambda: json.loads(path.read_text()))
    if not isinstance(content, dict):
        raise damaged(path, f"it holds a {type(content).__name__} instead of an object")
    return content


def read_arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Reads arrays of finite float64 numbers by name; pickled objects are refused.

    Raises
    ------
    ConfigurationError
        If there is no such file.
    IntegrityError
        If it is no .npz file with these arrays.
    """

    def arrays() -> dict[str, np.ndarray]:
        check_arrays(path)
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            return {name: file[name] for name in names}

    content = read(path, arrays)
    for name, values in content.items():
        if values.dtype != np.float64 or not np.isfinite(values).all():
            raise damaged(path, f"{name} holds something else than finite numbers")
    return content


def read(path: Path, reader: Callable[[], T]) -> T:
    """The result of a reader, with what goes wrong in it as one sentence.

    Raises
    ------
    ConfigurationError
        If there is no such file.
    IntegrityError
        If the reader fails: the file is damaged or of another kind.
    """
    if not path.is_file():
        raise ConfigurationError(f"no candidate at {path}; train again")
    try:
        return reader()
    except DAMAGES as error:
        raise damaged(path, str(error).partition("\n")[0] or type(error).__name__) from None


def damaged(path: Path, reason: str) -> IntegrityError:
    """The error for a file that is damaged or of another kind."""
    return IntegrityError(f"{path} is damaged or no candidate ({reason}); train again")


def columns_from(state: Mapping[str, Any]) -> Columns:
    """Columns out of the JSON of `Columns._asdict`.

    Raises
    ------
    TypeError, KeyError, ValueError
        If a field is missing or has another type.
    """
    names = {block: tuple(map(_text, state[block])) for block in ("pair", "customer", "context")}
    total = sum(map(len, names.values()))
    money = tuple(int(place) for place in state["money"])
    unit, horizon = float(state["unit"]), int(state["horizon"])
    if not all(0 <= place < total for place in money) or not 0 < unit < np.inf or horizon < 1:
        raise ValueError("its columns, unit or horizon are impossible")
    return Columns(**names, money=money, unit=unit, horizon=horizon)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a column is called {value!r}")
    return value
