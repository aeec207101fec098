"""What an append reads of a log: its metadata, ids and tables, and no column of events."""

from __future__ import annotations

from functools import cached_property, reduce
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.atomic import remove_interrupted
from propensity.checksum import check_files, check_sizes
from propensity.data.log_folder import META, UNREADABLE, first_line, log_damage, read_meta
from propensity.data.merged_log import changes_of, merged_table
from propensity.data.merged_meta import merged_meta
from propensity.data.segment import CHANGED, KNOWN, list_segments, read_table
from propensity.errors import ConfigurationError

NEEDED = ("checksum", "event_days", "largest")  # metadata that a log has since it has segments


class LogHead:
    """Metadata and tables of a log with its segments.

    Parameters
    ----------
    folder : Path
        Folder of the log. Sizes of its files are compared with its metadata, and checksums of what is read.

    Raises
    ------
    ConfigurationError
        If there is no log.
    DataError
        If it has another format.
    DamageError
        If it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        remove_interrupted(folder)
        if not (folder / META).is_file():
            raise ConfigurationError(f"no event log at {folder}; make one with propensity prepare out={folder}")
        self.folder, self.base = folder, read_meta(folder)
        self.files = self.base.get("files", {})
        check_sizes(folder, self.files, log_damage(folder))
        self.segments = list_segments(folder, self.base)
        self.places = [folder / each["name"] for each in self.base.get("shards", [])] or [folder]
        self.meta: dict[str, Any] = reduce(merged_meta, self.segments.metas, self.base)

    @property
    def takes_segments(self) -> bool:
        """Whether the metadata have what an append compares a delivery with; those of an older log have not."""
        return all(name in self.base for name in NEEDED)

    @property
    def last_event_day(self) -> int:
        """Day of the last event of any kind."""
        return max(int(meta["event_days"][1]) for meta in (self.base, *self.segments.metas))

    @property
    def largest_totals(self) -> dict[str, float]:
        """An upper bound of the magnitudes of each amount, added up."""
        parts = [(self.base["columns"]["day"]["shape"][0], self.base["largest"])]
        parts += [(meta["events"], meta["largest"]) for meta in self.segments.metas]
        return {name: float(sum(size * largest[name] for size, largest in parts)) for name in self.base["largest"]}

    @cached_property
    def ids(self) -> pl.Series:
        """Ids of the customers, sorted."""
        return self._table("customers", ["customer"])["customer"]

    @cached_property
    def customers(self) -> pl.DataFrame:
        """The table of customers."""
        return self._table("customers")

    @cached_property
    def items(self) -> pl.DataFrame:
        """The table of items with the column `known`, see `propensity.data.event_log.EventLog.item_known`."""
        return self._table("items")

    def schema(self, name: str) -> pl.DataFrame:
        """The table `name` without its rows."""
        base = pl.DataFrame(schema=pl.read_parquet_schema(self.places[0] / f"{name}.parquet"))
        parts = changes_of([each.head(0) for each in self._parts(name, None)])
        return pl.concat([base, *parts], how="diagonal_relaxed")

    def _table(self, name: str, columns: list[str] | None = None) -> pl.DataFrame:
        """The table `name`, or some of its columns."""
        places = self.places if name == "customers" else self.places[:1]  # shards have the same items
        known = ["item_known.npy"] if name == "items" else []
        names = [
            (place / file).relative_to(self.folder).as_posix()
            for place in places
            for file in (f"{name}.parquet", *known)
        ]
        damage = log_damage(self.folder)
        check_files(self.folder, {each: self.files[each] for each in names if each in self.files}, damage)
        try:
            base = pl.concat([pl.read_parquet(place / f"{name}.parquet", columns=columns) for place in places])
            base = base if len(places) == 1 else base.sort("customer")
            if name == "items":
                base = base.with_columns(pl.Series(KNOWN, np.load(places[0] / "item_known.npy")))
        except UNREADABLE as error:
            raise damage(names[0], first_line(error)) from None
        return merged_table(base, changes_of(self._parts(name, columns))).frame

    def _parts(self, name: str, columns: list[str] | None) -> list[pl.DataFrame]:
        """The table `name` of each segment."""
        names = None if columns is None else [*columns, CHANGED]
        return [read_table(self.segments, k, name, names) for k in range(len(self.segments.names))]
