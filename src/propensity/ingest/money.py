"""Account of money: every amount that was delivered is used, netted, merged, quarantined or dropped."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import polars as pl

from propensity.errors import DataError

CENT = 0.005
WAYS = ("net", "discounts", "returns", "merged", "quarantined", "dropped")


def sale_amount() -> pl.Expr:
    """Build an expression that reads the amount of a sale before its discounts.

    Returns
    -------
    polars.Expr
        Revenue and discount of a purchase; 0 for other events and for unreadable amounts.
    """
    amount = pl.col("revenue").cast(pl.Float64) + pl.col("discount").cast(pl.Float64).abs().fill_null(0.0)
    counts = (pl.col("kind") == "purchase") & pl.col("revenue").cast(pl.Float32).is_finite() & amount.is_finite()
    return pl.when(counts).then(amount).otherwise(0.0)


@dataclass
class MoneyCounts:
    """Sums of money of an ingestion, in the currency of the log."""

    sums: Counter[str] = field(default_factory=Counter)

    def add(self, way: str, rows: pl.DataFrame) -> None:
        """Add the sales of rows.

        Parameters
        ----------
        way : str
            What became of the rows: "gross" for all, "passed", "quarantined" or "dropped".
        rows : polars.DataFrame
            Rows with kind, revenue and discount.
        """
        if rows.height:
            self.sums[way] += rows.select(sale_amount().sum()).item()

    def add_used(self, rows: pl.DataFrame) -> None:
        """Add the revenue, discounts and returns of events of the log.

        Parameters
        ----------
        rows : polars.DataFrame
            Accepted rows.
        """
        purchase, revenue = pl.col("kind") == "purchase", pl.col("revenue").cast(pl.Float64)
        sales, paid, returned = rows.select(
            sale_amount().sum().alias("sales"),
            revenue.filter(purchase).sum().alias("paid"),
            revenue.filter(pl.col("kind") == "return").sum().alias("returned"),
        ).row(0)
        self.sums.update({"used": sales, "discounts": sales - paid, "returns": -returned, "net": paid + returned})

    def account(self, merged_rows: int) -> dict[str, float]:
        """Close the account.

        Parameters
        ----------
        merged_rows : int
            Number of rows of `events` that others replace.

        Returns
        -------
        dict of str to float
            `gross`, the sales of all rows before discounts, and what became of it: `net` (revenue of the log), the
            `discounts` and `returns` that were netted, and `merged`, `quarantined` and `dropped` sales.

        Raises
        ------
        DataError
            If the sum of the parts is not `gross` to the cent.
        """
        merged = self.sums["passed"] - self.sums["used"] - self.sums["settled"]
        parts = {name: self.sums[name] for name in WAYS} | {"merged": merged if merged_rows else 0.0}
        parts["quarantined"] += self.sums["settled"]
        gross, total = self.sums["gross"], sum(parts.values())
        if abs(gross - total) > CENT + 1e-9 * abs(gross):
            raise DataError(
                f"sales of {gross:.2f} were read but {total:.2f} are accounted for; correct the source, which changes "
                "amounts between its rules"
            )
        return {"gross": round(gross, 2)} | {name: round(parts[name], 2) + 0.0 for name in WAYS}
