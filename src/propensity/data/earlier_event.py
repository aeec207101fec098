"""Events that a log has of some customers, for a delivery that is appended to it; no others are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.data.log_column import COLUMNS, ENGAGEMENT, KEYS, MISSING, OPTIONAL
from propensity.data.log_folder import UNREADABLE, first_line, log_damage
from propensity.data.log_head import LogHead
from propensity.data.segment import COUNTS, EVENTS, REMOVED, read_table, removed_in
from propensity.kernel.ragged import offsets_of, positions
from propensity.kernel.sort import events_of_days

TYPES = {**COLUMNS, **OPTIONAL, **KEYS}


class Part(NamedTuple):
    """The events of the base, of a shard or of a segment, those of the history or those that are stored apart."""

    part: int
    apart: bool
    customers: pl.Series  # ids as text
    items: pl.Series  # ids as text
    channels: Sequence[str]
    offsets: np.ndarray
    columns: Mapping[str, Any]


def earlier_events(head: LogHead, wanted: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Read events of some customers.

    Parameters
    ----------
    head : LogHead
        The log.
    wanted : polars.DataFrame
        Distinct rows with `customer`, as the log writes it, as text, and perhaps `day` (Int32): days of the customer to
        read; without it all are.
    names : sequence of str
        Columns to read.

    Returns
    -------
    polars.DataFrame
        `customer`, `part` (0 for the base, k for segment k), `apart`, `event` (position in the columns of the part),
        `keyed` (whether the part has hashes of orders) and the columns; items and channels by name. Events that a later
        delivery replaced are left out.

    Raises
    ------
    DamageError
        If the log cannot be read.
    """
    removed = removed_tables(head)
    try:
        parts = [_read(part, wanted, names, removed) for part in _parts(head, {"day", *names})]
    except UNREADABLE as error:
        raise log_damage(head.folder)("", first_line(error)) from None
    return pl.concat(parts)


def removed_tables(head: LogHead) -> list[pl.DataFrame]:
    """The tables of replaced events of all segments that have one."""
    count = len(head.segments.names)
    having = [k for k in range(count) if f"{REMOVED}.parquet" in head.segments.metas[k]["files"]]
    return [read_table(head.segments, k, REMOVED) for k in having]


def _parts(head: LogHead, names: set[str]) -> Iterator[Part]:
    """All parts of a log."""
    stored = head.base["columns"]
    for place in head.places:
        ids = [
            pl.read_parquet(place / f"{each}s.parquet", columns=[each])[each].cast(pl.String)
            for each in ("customer", "item")
        ]
        for apart, prefix in ((False, ""), (True, f"{ENGAGEMENT}/")):
            if f"{prefix}offsets" in stored:
                own = [name for name in names if f"{prefix}{name}" in stored]
                columns = {name: np.load(place / f"{prefix}{name}.npy", mmap_mode="r") for name in ("offsets", *own)}
                yield Part(0, apart, ids[0], ids[1], head.base["channels"], columns["offsets"], columns)
    for k, meta in enumerate(head.segments.metas):
        customers, items = read_table(head.segments, k, "customers"), read_table(head.segments, k, "items")
        for apart, name in ((False, EVENTS), (True, ENGAGEMENT)):
            if f"{name}.parquet" in meta["files"]:
                columns = {each.name: each.to_numpy() for each in read_table(head.segments, k, name)}
                ids = [customers["customer"].cast(pl.String), items["item"].cast(pl.String)]
                offsets = offsets_of(customers[COUNTS[apart]].to_numpy())
                yield Part(k + 1, apart, ids[0], ids[1], meta["channels"], offsets, columns)


def _read(part: Part, wanted: pl.DataFrame, names: Sequence[str], removed: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The events of a part."""
    rows = pl.DataFrame({"customer": part.customers}).with_row_index("row").join(wanted, on="customer", how="inner")
    row = rows["row"].cast(pl.Int64).to_numpy()
    if "day" in wanted.columns:
        start, stop = events_of_days(np.asarray(part.offsets), part.columns["day"], row, rows["day"].to_numpy())
    else:
        start, stop = np.asarray(part.offsets[row]), np.asarray(part.offsets[row + 1])
    event = positions(start, stop - start)
    owner = np.repeat(np.arange(row.size), stop - start)
    stays = np.flatnonzero(~np.isin(event, removed_in(removed, part.part, part.apart)))
    event, owner = event[stays], owner[stays]
    frame = pl.DataFrame({"customer": rows["customer"].gather(owner), "event": event})
    return frame.with_columns(
        pl.lit(part.part, pl.Int64).alias("part"),
        pl.lit(part.apart).alias("apart"),
        pl.lit("order_key" in part.columns).alias("keyed"),
        *(_values(part, name, event) for name in names),
    )


def _values(part: Part, name: str, event: np.ndarray) -> pl.Series:
    """Values of a column; items and channels by name."""
    if name not in part.columns:
        return pl.Series(name, np.full(event.size, MISSING[name], TYPES[name]))
    values = np.asarray(part.columns[name][event])
    if name not in ("item", "channel"):
        return pl.Series(name, values)
    known = part.items if name == "item" else pl.Series(part.channels, dtype=pl.String)
    return named(values, known).alias(name)


def named(codes: np.ndarray, names: pl.Series) -> pl.Series:
    """Name (E,) of each code, null for -1.

    Parameters
    ----------
    codes : numpy.ndarray of shape (E,), int
        Positions in `names`.
    names : polars.Series
        Texts.

    Returns
    -------
    polars.Series
        Texts.

    Examples
    --------
    >>> named(np.array([1, -1]), pl.Series(["a", "b"])).to_list()
    ['b', None]
    """
    table = pl.concat([names.cast(pl.String), pl.Series([None], dtype=pl.String)])
    return table.gather(np.where(codes < 0, names.len(), codes).astype(np.int64))


def first_days(head: LogHead, customers: pl.Series) -> pl.Series:
    """Day of the first event that a log has of each of some customers.

    Parameters
    ----------
    head : LogHead
        The log.
    customers : polars.Series
        Ids (n,), as the log writes them.

    Returns
    -------
    polars.Series
        (n,) Int32, the largest one where the log has no event.
    """
    wanted = pl.DataFrame({"customer": customers.cast(pl.String)})
    days = earlier_events(head, wanted, ["day"]).group_by("customer").agg(pl.col("day").min())
    found = wanted.join(days, on="customer", how="left", maintain_order="left")["day"]
    return found.fill_null(np.iinfo(np.int32).max)
