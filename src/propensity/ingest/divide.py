"""Divides a log into shards, see `propensity.data.shard`, and keeps the shards of one that is written whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.atomic import replacement
from propensity.data.column_store import ColumnFiles, mapped_columns
from propensity.data.event_log import EventLog
from propensity.data.log_column import ENGAGEMENT
from propensity.data.log_folder import META, read_meta
from propensity.data.shard import MOST, NAME, OF_SHARD, is_sharded, is_shared, manifest, shard_of
from propensity.errors import ConfigurationError
from propensity.progress import step


def check_shards(customer: pl.Series, shards: int) -> None:
    """Check that every shard gets a customer.

    Parameters
    ----------
    customer : polars.Series
        Ids of the log.
    shards : int
        Number of shards.

    Raises
    ------
    ConfigurationError
        If there are more than `MOST`, or a shard without a customer.
    """
    if not 1 <= shards <= MOST:
        raise ConfigurationError(f"shards={shards} is not between 1 and {MOST:,}; give another number")
    empty = shards - np.unique(shard_of(customer, shards)).size
    if empty:
        raise ConfigurationError(
            f"shards={shards} leaves {empty} of them without any of the {len(customer):,} customers; give fewer shards"
        )


def divide(folder: Path, shards: int) -> None:
    """Divide a log that nobody reads yet, in place.

    Parameters
    ----------
    folder : Path
        Folder of a log without segments. Its columns and tables are removed when all shards are written, so that the
        disk holds them twice for a while.
    shards : int
        Number of shards, some of which may be empty.
    """
    step(f"dividing the log into {shards} shards")
    log = EventLog.open(folder)
    owner = shard_of(log.customers["customer"], shards)
    places = [folder / NAME.format(k) for k in range(shards)]
    for place in places:
        place.mkdir()
    columns = _write_columns(log, owner, places)
    apart: list[dict[str, Any]] | None = None
    if log.engagement is not None:
        for place in places:
            (place / ENGAGEMENT).mkdir()
        apart = _write_columns(log.engagement, owner, [place / ENGAGEMENT for place in places])
    whole = {name: value for name, value in log.meta.items() if name not in OF_SHARD}
    for k, place in enumerate(places):
        customers = log.customers.filter(pl.Series(owner == k))
        shard = replace(
            log.sibling(columns[k]), customers=customers, item_known=np.array(log.item_known),
            meta={**whole, "shard": [k, shards]},
        )  # fmt: skip
        if apart is not None:
            shard = replace(shard, engagement=shard.sibling(apart[k]))
        shard.seal(place)
    for name in log.meta["files"]:
        if not is_shared(name):
            (folder / name).unlink()
    if log.engagement is not None:
        (folder / ENGAGEMENT).rmdir()
    (folder / META).write_text(json.dumps(manifest(folder, [place.name for place in places], log.meta), indent=1))


def _write_columns(log: EventLog, owner: np.ndarray, places: list[Path]) -> list[dict[str, Any]]:
    """Write the columns of each shard; returns them, memory-mapped, with offsets."""
    count = np.diff(log.offsets)
    for name, kind in log.column_types.items():
        with ExitStack() as stack:
            files = [stack.enter_context(ColumnFiles(place, {name: kind})) for place in places]
            start = 0
            for block in log.blocks(name):
                shard = _owner_of_events(log.offsets, owner, start, start + block.size)
                for number in np.unique(shard).tolist():
                    files[number].append({name: block[shard == number]})
                start += block.size
    return [mapped_columns(place, count[owner == k], log.column_types) for k, place in enumerate(places)]


def _owner_of_events(offsets: np.ndarray, owner: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Shard of the events in [start, stop)."""
    first, last = np.searchsorted(offsets, [start, stop - 1], side="right") - 1
    edges = np.clip(offsets[first : last + 2], start, stop)
    return np.repeat(owner[first : last + 1], np.diff(edges))


@contextmanager
def replaced_log(folder: str | Path) -> Iterator[Path]:
    """Write a log that replaces another one and has as many shards; the caller holds `write_lock`.

    Parameters
    ----------
    folder : str or Path
        Folder of the log.

    Yields
    ------
    Path
        Folder for the new log, which the caller writes whole and seals.
    """
    shards = number_of_shards(folder)
    with replacement(folder) as draft:
        yield draft
        if shards:
            divide(draft, shards)


def number_of_shards(folder: str | Path) -> int:
    """Number of shards of the log in a folder; 0 for a log without shards."""
    folder = Path(folder)
    return len(read_meta(folder)["shards"]) if (folder / META).is_file() and is_sharded(folder) else 0
