"""What segments are described by: their clusters, and their migration between two dates."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl


class Clusters(NamedTuple):
    """What shows the segments: places (n, 2), loadings (F, 2) and shares of variance (2,) of the two components, the F
    features, and the means (k, F) of the standardised features by segment."""

    place: np.ndarray
    loading: np.ndarray
    variance: np.ndarray
    features: list[str]
    mean: np.ndarray

    def loadings(self) -> pl.DataFrame:
        """One row per feature: feature, component_1, component_2."""
        columns = {f"component_{c + 1}": self.loading[:, c] for c in range(2)}
        return pl.DataFrame({"feature": self.features} | columns)


class Migration(NamedTuple):
    """Customers by segment at two dates, under centres fixed at the first: table from, to, customers, spend before and
    after; adjusted Rand index and ratio of inertia against a fresh fit; start and end as ISO dates."""

    table: pl.DataFrame
    rand: float
    ratio: float
    start: str
    end: str

    def summary(self) -> dict[str, Any]:
        flows = self.table.to_dicts()
        return {"start": self.start, "end": self.end, "rand": self.rand, "inertia_ratio": self.ratio, "flows": flows}

    def sentences(self, min_agreement: float, max_inertia_ratio: float) -> list[str]:
        flows = self.table
        moved = flows.filter((pl.col("from") != pl.col("to")) & (pl.col("from") != "new") & (pl.col("to") != "left"))
        entered, left = flows.filter(pl.col("from") == "new"), flows.filter(pl.col("to") == "left")
        stayed = flows.filter(pl.col("from") == pl.col("to"))["customers"].sum()
        refit = self.rand < min_agreement or self.ratio > max_inertia_ratio
        return [
            f"from {self.start} to {self.end}: {stayed:,} customers stayed, {moved['customers'].sum():,} moved (their "
            f"revenue of 91 days went from {moved['before'].sum():,.0f} to {moved['after'].sum():,.0f}), "
            f"{entered['customers'].sum():,} entered and {left['customers'].sum():,} left",
            f"fixed and fresh segments: adjusted Rand index {self.rand:.2f}, inertia ratio {self.ratio:.3f}; "
            + ("fit the segments again" if refit else "no need to fit again"),
        ]
