"""How a number is written for a reader: points, times, intervals, and a dash with its reason where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

DASH, GAP = "–", "\u00a0"  # a number and its unit stay on one line
Cell = Mapping[str, Any]  # value, low, high, reason, and a verdict where it is a difference


class Metric(NamedTuple):
    """A metric as the page shows it: `scale` times the value, with so many digits, and a unit."""

    key: str
    title: str
    meaning: str
    digits: int
    scale: float = 1.0
    unit: str = ""
    change: str = ""  # the unit of a difference

    def written(self, value: float, signed: bool = False) -> str:
        return decimal(value * self.scale, self.digits, signed)

    def value(self, cell: Cell) -> str:
        return DASH if cell.get("value") is None else self.written(cell["value"]) + self.unit

    def difference(self, cell: Cell) -> str:
        return DASH if cell.get("value") is None else self.written(cell["value"], signed=True) + self.change

    def bootstrap_interval(self, cell: Cell, signed: bool = False) -> str:
        """The 95 % interval in brackets; nothing where there is none."""
        if cell.get("low") is None or cell.get("high") is None:
            return ""
        return f"[{self.written(cell['low'], signed)}, {self.written(cell['high'], signed)}]"


def metrics_of(fraction: float) -> dict[str, Metric]:
    """Every metric of the page, in its order; `fraction` of the customers is mailed."""
    best = percent(fraction, 0)
    points = f"{GAP}points"
    listed = (
        Metric("revenue_capture", f"Revenue capture @{best}",
               f"share of an offer's revenue that the best {best} of customers bring",
               1, 100, f"{GAP}%", points),
        Metric("revenue_lift", f"Revenue lift @{best}",
               f"revenue of the best {best}, in multiples of as many chosen blindly",
               2, 1, f"{GAP}×"),
        Metric("revenue_lift_winsorised", "Winsorised revenue lift",
               "revenue lift with each offer's largest amounts brought "
               "down to what 95 % of its buyers stay below, so that no single basket decides", 2, 1, f"{GAP}×"),
        Metric("normalised_revenue_capture", f"Normalised revenue capture @{best}",
               "revenue capture, as a share of the capture of a perfect ranking",
               1, 100, f"{GAP}%", points),
        Metric("auc", "AUC", "chance that a buyer is ranked above a customer who does not buy", 4),
        Metric("lift", "Buyers lift", f"buyers in the best {best}, in multiples of a random choice", 2, 1, f"{GAP}×"),
        Metric("average_precision", "Average precision",
               "share of buyers in the list, averaged over its possible lengths", 4),
        Metric("micro_auc", "Pooled AUC", "AUC over all pairs of customer and offer at once", 4),
        Metric("log_loss", "Log loss", "how surprised the probabilities were by what happened; less is better", 4),
        Metric("ece", "Calibration error", "distance between probability and share that bought; less is better", 4),
    )  # fmt: skip
    return {metric.key: metric for metric in listed}


def decimal(value: float, digits: int, signed: bool = False) -> str:
    """A number with thousands separated and a true minus; nothing is ever minus zero.

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
    """Three digits at most, for axes and cards.

    >>> short(1250000), short(48200), short(0.002), short(0)
    ('1.25M', '48.2k', '0.002', '0')
    """
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}".replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def optional(value: float | None, digits: int) -> str:
    return DASH if value is None else decimal(value, digits)
