"""How numbers are written: metrics with their digits and units, intervals, and a dash where there is no value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

DASH, GAP = "–", "\u00a0"  # a number and its unit are not broken over two lines
LOG_CURRENCY = "the log's currency"  # where it has no name
Cell = Mapping[str, Any]  # value, low, high, reason, and a verdict where it is a difference


class MetricFormat(NamedTuple):
    """How a metric is written: `scale` times its value, with so many digits, and a unit."""

    name: str
    title: str
    meaning: str
    direction: str
    digits: int
    scale: float = 1.0
    unit: str = ""
    change: str = ""  # the unit of a difference

    def written(self, value: float, signed: bool = False) -> str:
        return decimal(value * self.scale, self.digits, signed)

    def value(self, cell: Cell) -> str:
        return DASH if cell.get("value") is None else self.written(cell["value"]) + with_gap(self.unit)

    def difference(self, cell: Cell) -> str:
        return DASH if cell.get("value") is None else self.written(cell["value"], signed=True) + with_gap(self.change)

    def interval(self, cell: Cell, signed: bool = False) -> str:
        """The 95 % interval in brackets; nothing where there is none."""
        if cell.get("low") is None or cell.get("high") is None:
            return ""
        return f"[{self.written(cell['low'], signed)}, {self.written(cell['high'], signed)}]"

    def best(self, values: Sequence[float]) -> float:
        """The best of some values in the metric's direction."""
        if self.direction == "closest to 1":
            return min(values, key=lambda value: abs(math.log(max(value, 1e-6))))
        return max(values) if self.direction == "higher" else min(values)


def shown_metrics(metrics: Mapping[str, Any]) -> dict[str, MetricFormat]:
    """The format of every metric that tables show, in their order, from the declarations in `metrics`."""
    fields = [field for field in MetricFormat._fields if field != "name"]
    return {
        name: MetricFormat(name, **{field: described[field] for field in fields})
        for name, described in metrics["metrics"].items()
        if described["shown"]
    }


def currency_of(metrics: Mapping[str, Any]) -> str:
    """The currency of a run's amounts; empty where the log does not know it."""
    return str((metrics.get("run") or {}).get("currency") or "")


def in_currency(title: str, currency: str) -> str:
    """The title of an amount with its currency.

    >>> in_currency("Revenue", "EUR"), in_currency("Revenue", "")
    ('Revenue (EUR)', 'Revenue')
    """
    return f"{title} ({currency})" if currency else title


def with_gap(unit: str) -> str:
    """A unit after a space that does not break."""
    return GAP + unit if unit else ""


def decimal(value: float, digits: int, signed: bool = False) -> str:
    """A number with thousands separated and a real minus sign; zero has no sign.

    >>> decimal(1234.5, 1), decimal(0.25, 1, signed=True), decimal(-0.001, 2)
    ('1,234.5', '+0.2', '0.00')
    """
    text = f"{value:+,.{digits}f}" if signed else f"{value:,.{digits}f}"
    if not text.strip("+-0.,"):
        return text.lstrip("+-")
    return text.replace("-", "−")


def percent(share: float, digits: int = 1) -> str:
    return f"{decimal(100 * share, digits)}{GAP}%"


def short(value: float) -> str:
    """A number with three digits at most, for axes.

    >>> short(1250000), short(48200), short(0.002), short(0)
    ('1.25M', '48.2k', '0.002', '0')
    """
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}".replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def optional(value: float | None, digits: int) -> str:
    return DASH if value is None else decimal(value, digits)
