"""Large amounts that deserve a look: sales that another line takes back, and sales beyond the tail of their market."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

KEPT = 4_096  # largest lines that are compared
MIN_SALES = 200  # sales from which the tail of the market is estimated
TAIL_SHARE, MIN_TAIL = 0.01, 50  # largest sales that are the tail
MAX_EXPECTED = 0.01  # expected number of sales of at least this size up to which it is implausible
LARGE = 10.0  # times the median sale, from which a sale is compared with lines that may take it back
UNDOING = ("not_a_product", "line_in_bulk", "price_negative", "return_before_purchase")
LINE = ("customer", "item", "day", "revenue")
SHOWN = 5


def implausible_sales(largest: np.ndarray, sales: int) -> np.ndarray:
    """Find sales that are larger than the order statistics of their market allow.

    Parameters
    ----------
    largest : numpy.ndarray of shape (K,)
        The largest amounts, descending.
    sales : int
        Number of all sales.

    Returns
    -------
    numpy.ndarray of shape (K,)
        True where fewer than `MAX_EXPECTED` sales of at least this size are expected.

    Notes
    -----
    The tail is that of a Pareto distribution above the k-th largest sale u, of which k (x / u)^-a exceed x. Its
    exponent is that of the median, a = ln 2 / median(ln(x / u)), so that the suspect sales themselves do not
    stretch it (Hill, Annals of Statistics 1975, with the median for the mean).

    Examples
    --------
    >>> market = np.sort(np.random.default_rng(0).lognormal(3, 1, 10_000))[::-1]
    >>> implausible_sales(market[:500], 10_000).any()
    np.False_
    >>> implausible_sales(np.r_[168_469.6, market[:500]], 10_001).sum()
    np.int64(1)
    """
    if sales < MIN_SALES or largest.size < MIN_TAIL:
        return np.zeros(largest.size, bool)
    tail = largest[: min(largest.size, max(MIN_TAIL, int(TAIL_SHARE * sales)))].astype(float)
    threshold = tail[-1]
    middle = np.median(np.log(tail[:-1] / threshold)) if threshold > 0 else 0.0
    if middle <= 0:
        return np.zeros(largest.size, bool)
    exponent = np.log(2) / middle
    return np.asarray(tail.size * (np.maximum(largest, threshold) / threshold) ** -exponent < MAX_EXPECTED)


@dataclass
class LargeLines:
    """The largest sales, and the largest negative lines of any outcome."""

    sales: pl.DataFrame | None = None
    undoing: pl.DataFrame | None = None
    count: int = 0
    threshold: float = 0.0  # amount below which no sale can be among the largest

    def add_undoing(self, rejected: pl.DataFrame) -> None:
        """Add negative lines that are no events.

        Parameters
        ----------
        rejected : polars.DataFrame
            Rows with a column `reason`.
        """
        if not rejected.height:
            return
        negative = (pl.col("revenue") < 0) & pl.col("reason").is_in(UNDOING)
        self.undoing = _largest(self.undoing, rejected.filter(negative).select(*LINE, pl.col("reason")))

    def add_used(self, rows: pl.DataFrame) -> None:
        """Add events of the log.

        Parameters
        ----------
        rows : polars.DataFrame
            Accepted rows.
        """
        kind, revenue = pl.col("kind"), pl.col("revenue")
        self.count += rows.select((kind == "purchase").sum()).item()
        sales = rows.lazy().filter(kind == "purchase", revenue > self.threshold).select(LINE).collect()
        self.sales = _largest(self.sales, sales)
        if self.sales.height == KEPT:
            self.threshold = float(self.sales["revenue"].min())  # type: ignore[arg-type]
        returns = rows.lazy().filter(kind == "return", revenue < 0).select(*LINE, reason=pl.lit(None, pl.String))
        self.undoing = _largest(self.undoing, returns.collect())

    def tables(self) -> dict[str, pl.DataFrame | None]:
        """Both tables by name."""
        return {"sales": self.sales, "undoing": self.undoing}

    def add(self, count: int, sales: pl.DataFrame | None, undoing: pl.DataFrame | None) -> None:
        """Add the lines of a range of customers.

        Parameters
        ----------
        count : int
            Its number of sales.
        sales, undoing : polars.DataFrame or None
            Its tables.
        """
        self.count += count
        if sales is not None:
            self.sales = _largest(self.sales, sales)
        if undoing is not None:
            self.undoing = _largest(self.undoing, undoing)

    def warnings(self, median: float) -> tuple[dict[str, int], list[dict[str, Any]]]:
        """List what deserves a look.

        Parameters
        ----------
        median : float
            Median sale.

        Returns
        -------
        warnings : dict of str to int
            Number of sales by rule.
        lines : list of dict
            The largest of each rule: rule, item, day and amount, and for a sale that is taken back `by`, the item.
        """
        if self.sales is None or not self.sales.height:
            return {}, []
        sales = self.sales.sort("revenue", descending=True)
        odd = sales.filter(pl.Series(implausible_sales(sales["revenue"].to_numpy(), self.count)))
        undone = _undone(sales.filter(pl.col("revenue") >= LARGE * median), self.undoing)
        found = {"sale_implausible": odd, "sale_undone": undone}
        lines = [
            {
                "rule": code, "item": str(row["item"]), "day": str(row["day"]), "amount": round(row["revenue"], 2),
                "by": row.get("by"),
            }
            for code, rows in found.items()
            for row in rows.head(SHOWN).iter_rows(named=True)
        ]  # fmt: skip
        return {code: rows.height for code, rows in found.items() if rows.height}, lines


def _largest(lines: pl.DataFrame | None, more: pl.DataFrame) -> pl.DataFrame:
    """The lines with the largest amounts of both."""
    rows = more if lines is None else pl.concat([lines, more], how="vertical_relaxed")
    if rows.height <= KEPT:
        return rows
    return rows.sort(pl.col("revenue").abs(), descending=True, maintain_order=True).head(KEPT)


def _undone(sales: pl.DataFrame, undoing: pl.DataFrame | None) -> pl.DataFrame:
    """Sales with `by`, the other item whose line takes the same amount back from the same customer; each line once."""
    if undoing is None or not undoing.height or not sales.height:
        return sales.clear().with_columns(by=pl.lit(None, pl.String))
    cents = (pl.col("revenue").abs() * 100).round().cast(pl.Int64).alias("cents")
    pairs = sales.with_row_index("sale").with_columns(cents).join(
        undoing.with_row_index("line").with_columns(cents), on=["customer", "cents"], suffix="_back"
    )  # fmt: skip
    pairs = pairs.filter((pl.col("item") != pl.col("item_back")) & (pl.col("day_back") >= pl.col("day")))
    pairs = pairs.sort("sale", "day_back", "line").unique("line", keep="first", maintain_order=True)
    pairs = pairs.unique("sale", keep="first", maintain_order=True)
    return pairs.select(*LINE, by=pl.col("item_back").cast(pl.String))
