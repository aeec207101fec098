"""Configured mapping of the columns of events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

UNIT_PRICES = ("unit", "net_unit")  # values of `revenue_is` for the price of one unit
BEFORE_DISCOUNT = ("gross", "unit")  # values of `revenue_is` for amounts from which the discount is taken off


@dataclass(frozen=True)
class ColumnMapping:
    """Configured mapping of columns; see `propensity.ingest.source.table.Table` for the settings."""

    columns: Mapping[str, str]
    item_columns: tuple[str, ...] = ()
    customer_columns: tuple[str, ...] = ()
    item_identity: tuple[str, ...] = ()
    revenue_is: str = "total"
    day_format: str | None = None
    timezone: str | None = None
    decimal: str | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    scale: float | Mapping[str, float] = 1.0
    kinds: Mapping[str, str] = field(default_factory=dict)
    cancelled: str | None = None
    leave_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    not_products: tuple[str, ...] | None = None
    discount_is: str | None = None
    times_in: str | None = None
    cost_is: str = "total"
    refund_is: str = "net"

    def has(self, name: str) -> bool:
        """Tell whether a column is mapped.

        Parameters
        ----------
        name : str
            Column of the contract.

        Returns
        -------
        bool
            True if it is mapped.
        """
        return name in self.columns
