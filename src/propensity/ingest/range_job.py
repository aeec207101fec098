"""Settling and encoding the rows of ranges of customers, in this process or as blocks of an engine."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import polars as pl

from propensity.engine.block import Block, Engine, Write
from propensity.ingest.count import IngestCounts
from propensity.ingest.encode import CodeTable, EncodedEvents, encode
from propensity.ingest.external_partition import ExternalPartition
from propensity.ingest.source import Settled
from propensity.progress import step

Settle = Callable[[pl.DataFrame], Settled]


class CodeTables(NamedTuple):
    """Codes of items, channels and contacts."""

    items: CodeTable
    channels: CodeTable
    contacts: CodeTable

    @classmethod
    def empty(cls, item: pl.DataType) -> CodeTables:
        """Tables without codes, for items of a type."""
        return cls(CodeTable(item), CodeTable(pl.String()), CodeTable(pl.String()))


class Rejected(Protocol):
    """Takes rejected rows, such as `propensity.ingest.quarantine.Quarantine`."""

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows with a column `reason`."""


class Collected:
    """Rejected rows in memory."""

    def __init__(self) -> None:
        self.rows: list[pl.DataFrame] = []

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows with a column `reason`."""
        self.rows.append(rows)


def settle_rows(
    rows: pl.DataFrame,
    settle: Settle,
    codes: CodeTables,
    keys: Mapping[str, type],
    counts: IngestCounts,
    rejected: Rejected,
) -> EncodedEvents | None:
    """Apply the rules on all rows of customers, count what becomes of each, and encode the events.

    Parameters
    ----------
    rows : polars.DataFrame
        All accepted rows of some customers, in delivery order.
    settle : callable
        See `propensity.ingest.source.Tables`.
    codes : CodeTables
        Codes; new values are added.
    keys : mapping of str to type
        See `propensity.ingest.encode.key_columns`.
    counts : IngestCounts
        What is counted on.
    rejected : Rejected
        Takes the rows that the rules reject.

    Returns
    -------
    EncodedEvents or None
        None without an event.
    """
    settled = settle(rows)
    counts.merged.update(settled.merged)
    counts.warnings.update(settled.warnings)
    rejected.add(settled.quarantined)
    counts.money.add("settled", settled.quarantined)
    counts.large.add_undoing(settled.quarantined)
    if not settled.accepted.height:
        return None
    encoded = encode(settled.accepted, *codes, keys)
    counts.add_used(encoded)
    counts.money.add_used(settled.accepted)
    counts.large.add_used(settled.accepted)
    return encoded


@dataclass(frozen=True)
class RangeJob:
    """Settles and encodes the rows of a range of customers.

    Attributes
    ----------
    settle : callable
        See `propensity.ingest.source.Tables`.
    item : polars.DataType
        Type of the item ids.
    keys : dict of str to type
        See `propensity.ingest.encode.key_columns`.
    files : list of list of str
        Files with the rows of each range.
    """

    settle: Settle
    item: pl.DataType
    keys: dict[str, type]
    files: list[list[str]]

    def open(self) -> Write:
        """See `propensity.engine.block.Job`."""

        def write(block: Block, draft: Path) -> None:
            rows = pl.concat([pl.read_ipc(file) for file in self.files[block.number]])
            counts, rejected, codes = IngestCounts(), Collected(), CodeTables.empty(self.item)
            encoded = settle_rows(rows, self.settle, codes, self.keys, counts, rejected)
            with draft.open("wb") as file:
                np.savez(file, **arrays_of(encoded, codes, counts, rejected))

        return write


def settled_in_blocks(
    partition: ExternalPartition,
    job: RangeJob,
    engine: Engine,
    place: Path,
    codes: CodeTables,
    counts: IngestCounts,
    rejected: Rejected,
) -> Iterator[EncodedEvents]:
    """Settle and encode the ranges of a partition as blocks.

    Parameters
    ----------
    partition : ExternalPartition
        The rows.
    job : RangeJob
        The job, whose `files` are those of the partition.
    engine : Engine
        Where the blocks are computed.
    place : Path
        Folder of their files.
    codes, counts, rejected
        As in `settle_rows`; they become the same as by settling one range after another.

    Yields
    ------
    EncodedEvents
        Of each range with an event, ascending by customer id.
    """
    blocks = [Block(number, place / f"settled-{number:05d}.npz") for number in range(len(job.files))]
    engine.write(job, blocks, step)
    for block in blocks:
        with np.load(block.path, allow_pickle=False) as arrays:
            encoded = read_block({name: arrays[name] for name in arrays.files}, codes, counts, rejected)
        block.path.unlink()
        if encoded is not None:
            yield encoded
    partition.clear()


def arrays_of(
    encoded: EncodedEvents | None, codes: CodeTables, counts: IngestCounts, rejected: Collected
) -> dict[str, Any]:
    """The outcome of a range as arrays by name; tables as the bytes of Parquet files."""
    tables = {f"rejected-{k:05d}": rows for k, rows in enumerate(rejected.rows)}
    tables |= {name: each.table for name, each in codes._asdict().items()}
    tables |= {name: each for name, each in counts.large.tables().items() if each is not None}
    arrays: dict[str, Any] = {f"table/{name}": _bytes_of(table) for name, table in tables.items()}
    arrays["counts"] = np.frombuffer(json.dumps(counts.of_range()).encode(), np.uint8)
    if encoded is None:
        return arrays
    arrays |= {f"columns/{name}": column for name, column in encoded.columns.items()}
    arrays |= {f"engagement/{name}": column for name, column in encoded.engagement.items()}
    arrays |= {"events": encoded.events, "engagement_events": encoded.engagement_events}
    return arrays | {"table/customer": _bytes_of(encoded.customer.to_frame())}


def read_block(
    arrays: Mapping[str, np.ndarray], codes: CodeTables, counts: IngestCounts, rejected: Rejected
) -> EncodedEvents | None:
    """The events of a range from `arrays_of`, with the codes of all; counts and rejected rows are added."""
    stored = {name.removeprefix("table/"): each for name, each in arrays.items() if name.startswith("table/")}
    tables = {name: pl.read_parquet(io.BytesIO(each.tobytes())) for name, each in stored.items()}
    for name in sorted(name for name in tables if name.startswith("rejected-")):
        rejected.add(tables[name])
    counts.add_range(json.loads(arrays["counts"].tobytes()), tables.get("sales"), tables.get("undoing"))
    if "events" not in arrays:
        return None
    translated = {}
    for name, own, table in zip(("item", "channel", "contact"), CodeTables._fields, codes, strict=True):
        translated[name] = np.append(table.code(tables[own]["name"], tables[own]["first"]), -1)

    def columns(part: str) -> dict[str, np.ndarray]:
        found = {name.removeprefix(part): each for name, each in arrays.items() if name.startswith(part)}
        return {name: translated[name][each] if name in translated else each for name, each in found.items()}

    apart = arrays["engagement_events"], columns("engagement/")
    return EncodedEvents(tables["customer"].to_series(), arrays["events"], columns("columns/"), *apart)


def files_of(partition: ExternalPartition) -> list[list[str]]:
    """The files of each range of a partition that has rows."""
    partition.flush()
    return [[str(file.absolute()) for file in files] for files in partition.files if files]


def _bytes_of(table: pl.DataFrame) -> np.ndarray:
    """A table as the bytes of a Parquet file."""
    file = io.BytesIO()
    table.write_parquet(file)
    return np.frombuffer(file.getvalue(), np.uint8)
