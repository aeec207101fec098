"""Reads the folder of an event log: the files of its base, checked, as arrays and tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.checksum import Damage, check_files, check_sizes
from propensity.data.log_column import ARRAYS, CONTACTS, ENGAGEMENT, SOMETIMES, TABLE_FILES, TABLES
from propensity.data.log_folder import UNREADABLE, first_line, log_damage, read_meta
from propensity.data.valid import check_columns, check_engagement, check_optional
from propensity.errors import DamageError


class StoredLog(NamedTuple):
    """The content of the base of a log.

    Parameters
    ----------
    arrays : dict of str to numpy.ndarray
        `ARRAYS` and the columns of `OPTIONAL` that it has, memory-mapped.
    engagement : dict of str to numpy.ndarray
        `offsets` and the columns of the events that are stored apart; empty without any.
    frames : dict of str to polars.DataFrame
        `customers`, `items`, and `contacts` where it has some.
    meta : dict
        Content of `meta.json`.
    """

    arrays: dict[str, Any]
    engagement: dict[str, Any]
    frames: dict[str, Any]
    meta: dict[str, Any]


def read_base(folder: Path, verify: bool) -> StoredLog:
    """Read the base of a log. Sizes, ranges and order are always checked.

    Parameters
    ----------
    folder : Path
        Folder of the log.
    verify : bool
        Whether to compare all files with their checksums first.

    Returns
    -------
    StoredLog
        Its content.

    Raises
    ------
    DataError
        If the log has another format.
    DamageError
        If it is damaged.
    """
    meta, damage = read_meta(folder), log_damage(folder)
    try:
        arrays, frames = _stored(folder, meta, verify, damage)
        channels, days = len(meta["channels"]), (int(meta["first_day"]), int(meta["last_day"]))
    except DamageError:
        raise
    except UNREADABLE as error:
        raise damage("", first_line(error)) from None
    keys = {name: frames[name].columns[:1] for name in TABLES}
    if frames["customers"].height != arrays["offsets"].size - 1 or keys != {
        "customers": ["customer"],
        "items": ["item"],
    }:
        raise damage("", "its tables differ in length or columns")
    apart = {name.split("/")[1]: arrays.pop(name) for name in [*arrays] if "/" in name}
    items, contacts = frames["items"].height, frames[CONTACTS].height if CONTACTS in frames else 0
    check_columns(arrays, items, channels, days, damage)
    check_optional(arrays, contacts, damage)
    if apart:
        check_engagement(apart, items, channels, frames["customers"].height, damage)
        check_optional(apart, contacts, damage, f"{ENGAGEMENT}/")
    return StoredLog(arrays, apart, frames, meta)


def _stored(
    folder: Path, meta: Mapping[str, Any], verify: bool, damage: Damage
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays, memory-mapped, by the name of their file, and tables by name; one of `UNREADABLE` if one is damaged."""
    files, columns = meta.get("files", {}), meta["columns"]
    (check_files if verify else check_sizes)(folder, files, damage)
    if not verify:
        check_files(folder, {name: files[name] for name in TABLE_FILES if name in files}, damage)
    names = [*ARRAYS, *(name for name in SOMETIMES if name in columns)]
    tables = [*TABLES, *([CONTACTS] if "contact" in {name.split("/")[-1] for name in names} else [])]
    arrays = {name: _column(folder, name, columns[name]) for name in names}
    return arrays, {name: pl.read_parquet(folder / f"{name}.parquet") for name in tables}


def _column(folder: Path, name: str, spec: dict[str, Any]) -> np.ndarray:
    """Memory-map a column; ValueError if its shape or type differs from `spec`."""
    array = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    if list(array.shape) != spec["shape"] or str(array.dtype) != spec["dtype"]:
        raise ValueError(f"{name}.npy is {array.dtype}{list(array.shape)}, expected {spec['dtype']}{spec['shape']}")
    return array
