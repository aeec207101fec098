"""External partition of rows by ranges of customer id, so that each range fits in memory.

Rows keep their order within a range, and ranges ascend by customer id. Small inputs are never written to disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

SAMPLED = 100_000  # sampled customer ids from which the bounds are computed


def partition_bounds(customer: pl.LazyFrame, rows: int, range_rows: int) -> pl.Series:
    """Compute the bounds of ranges with about equal numbers of rows.

    Parameters
    ----------
    customer : polars.LazyFrame
        One column of customer ids.
    rows : int
        Its number of rows.
    range_rows : int
        Target number of rows in a range.

    Returns
    -------
    polars.Series
        Inclusive upper bounds of all ranges except the last.
    """
    ranges = -(-rows // range_rows)
    if ranges < 2:
        return pl.Series(dtype=customer.collect_schema().dtypes()[0])
    in_sample = pl.col("row") % max(rows // SAMPLED, 1) == 0
    sample = customer.with_row_index("row").filter(in_sample).drop("row").collect(engine="streaming").to_series()
    sample = sample.drop_nulls().sort()
    places = [len(sample) * k // ranges for k in range(1, ranges)]
    return sample.gather(places).unique().sort()


class ExternalPartition:
    """Partition of rows by customer id, with files on disk for what exceeds `memory_rows`.

    Parameters
    ----------
    folder : Path
        Folder of the spilled files.
    bounds : polars.Series
        Bounds of `partition_bounds`.
    memory_rows : int
        Maximum number of rows in memory.
    """

    def __init__(self, folder: Path, bounds: pl.Series, memory_rows: int) -> None:
        self.folder, self.bounds, self.memory_rows = folder, bounds, memory_rows
        self.buffers: list[list[pl.DataFrame]] = [[] for _ in range(len(bounds) + 1)]
        self.files: list[list[Path]] = [[] for _ in range(len(bounds) + 1)]
        self.count = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows.

        Parameters
        ----------
        rows : polars.DataFrame
            Rows with a column `customer` without nulls.
        """
        if not len(self.bounds):
            self.buffers[0].append(rows)
        else:
            number = self.bounds.search_sorted(rows["customer"], side="left")
            parts = rows.with_columns(number.alias("range")).partition_by("range", include_key=False, as_dict=True)
            for (k,), part in parts.items():
                self.buffers[k].append(part)
        self.count += rows.height
        if self.count > self.memory_rows:
            self.flush()

    def flush(self) -> None:
        """Write the rows in memory to disk."""
        for k, (buffer, files) in enumerate(zip(self.buffers, self.files, strict=True)):
            if buffer:
                files.append(self.folder / f"range-{k:05d}-{len(files):05d}.arrow")
                pl.concat(buffer).write_ipc(files[-1], compression="uncompressed")
                buffer.clear()
        self.count = 0

    def clear(self) -> None:
        """Delete the files."""
        for files in self.files:
            for file in files:
                file.unlink()
            files.clear()

    def ranges(self) -> Iterator[pl.DataFrame]:
        """Iterate over the ranges and delete the files of each afterwards.

        Yields
        ------
        polars.DataFrame
            All rows of a range that has any, in their order.
        """
        for buffer, files in zip(self.buffers, self.files, strict=True):
            if parts := [pl.read_ipc(file) for file in files] + buffer:
                buffer.clear()
                yield pl.concat(parts)
            for file in files:
                file.unlink()
