"""Quarantine of rejected rows in Parquet files beside a log."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl

from propensity.ingest.privacy import mask_contact_data
from propensity.ingest.source import RAW


class Quarantine:
    """Writer of rejected rows to Parquet, with the number of rows by reason.

    Parameters
    ----------
    folder : Path
        Folder of the files; created with the first row.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reasons: Counter[str] = Counter()
        self.files = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Write rows to a new file; contact data in their raw columns are masked.

        Parameters
        ----------
        rows : polars.DataFrame
            Rows with a column `reason`; may be empty.
        """
        if rows.height:
            self.folder.mkdir(exist_ok=True)
            texts = [name for name, kind in rows.schema.items() if name.startswith(RAW) and kind == pl.String]
            masked = rows.with_columns(mask_contact_data(name) for name in texts)
            masked.write_parquet(self.folder / f"rows-{self.files:05d}.parquet")
            self.files += 1
            self.reasons.update(dict(rows["reason"].value_counts().iter_rows()))
