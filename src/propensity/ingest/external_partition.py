"""Rows of any number, shared out by ranges of customer id so that each range fits in memory.

Rows keep their order inside a range, and the ranges ascend: what is done range by range is done in the order of the
sorted ids. Few rows never touch the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

SAMPLED = 100_000  # customers of rows that the bounds are drawn from


def partition_bounds(customer: pl.LazyFrame, rows: int, most: int) -> pl.Series:
    """Upper ends of ranges, but the last, that hold about `most` rows each; customer: one column, with `rows` rows."""
    ranges = -(-rows // most)
    if ranges < 2:
        return pl.Series(dtype=customer.collect_schema().dtypes()[0])
    every = pl.col("row") % max(rows // SAMPLED, 1) == 0
    drawn = customer.with_row_index("row").filter(every).drop("row").collect(engine="streaming").to_series()
    drawn = drawn.drop_nulls().sort()
    places = [len(drawn) * k // ranges for k in range(1, ranges)]
    return drawn.gather(places).unique().sort()


class ExternalPartition:
    """Rows that wait for the others of their range; `held` rows are kept in memory, the rest in files of `folder`."""

    def __init__(self, folder: Path, bounds: pl.Series, held: int) -> None:
        self.folder, self.bounds, self.held = folder, bounds, held
        self.waiting: list[list[pl.DataFrame]] = [[] for _ in range(len(bounds) + 1)]
        self.files: list[list[Path]] = [[] for _ in range(len(bounds) + 1)]
        self.count = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Takes rows with a `customer`, none of them null."""
        if not len(self.bounds):
            self.waiting[0].append(rows)
        else:
            owner = self.bounds.search_sorted(rows["customer"], side="left")
            parts = rows.with_columns(owner.alias("range")).partition_by("range", include_key=False, as_dict=True)
            for (k,), part in parts.items():
                self.waiting[k].append(part)
        self.count += rows.height
        if self.count > self.held:
            self.flush()

    def flush(self) -> None:
        """Moves what is held to disk."""
        for k, (waiting, files) in enumerate(zip(self.waiting, self.files, strict=True)):
            if waiting:
                files.append(self.folder / f"range-{k:05d}-{len(files):05d}.arrow")
                pl.concat(waiting).write_ipc(files[-1], compression="uncompressed")
                waiting.clear()
        self.count = 0

    def ranges(self) -> Iterator[pl.DataFrame]:
        """The rows of each range that has any; each is forgotten when the next is asked for."""
        for waiting, files in zip(self.waiting, self.files, strict=True):
            if parts := [pl.read_ipc(file) for file in files] + waiting:
                waiting.clear()
                yield pl.concat(parts)
            for file in files:
                file.unlink()
