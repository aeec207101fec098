"""Tables as the template fills them in: a figure, its interval and verdict, or a dash that leads to its reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from propensity.report.number import DASH, Cell, MetricFormat

SYMBOLS = {"win": "▲ win", "tie": "● tie", "loss": "▼ loss"}


class Item(NamedTuple):
    """One place of a table: the text, a smaller line below, whether it stands out, a verdict, a note's number."""

    text: str
    below: str = ""
    best: bool = False
    verdict: str = ""
    note: int = 0
    reason: str = ""


class Notes:
    """Reasons why numbers are missing, numbered in the order in which a table meets them."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def number(self, reason: str) -> int:
        if reason not in self.reasons:
            self.reasons.append(reason)
        return self.reasons.index(reason) + 1


class HtmlTable(NamedTuple):
    head: list[str]
    rows: list[list[Item]]
    notes: list[str]
    hints: list[str] = []  # what a column means, shown on its title


def missing(reason: str, notes: Notes) -> Item:
    return Item(DASH, note=notes.number(reason), reason=reason)


def best_of(cells: Sequence[Cell], metric: MetricFormat) -> str:
    """The best value as written, so that equals at the digits shown all stand out; nothing among fewer than two."""
    known = [cell["value"] for cell in cells if cell["value"] is not None]
    if len(known) < 2:
        return ""
    return metric.written(metric.best(known))


def measured(cell: Cell, metric: MetricFormat, notes: Notes, best: str = "") -> Item:
    """A model's own figure; `best` is how the best of its column is written."""
    if cell["value"] is None:
        return missing(cell.get("reason") or "not given", notes)
    return Item(metric.value(cell), metric.interval(cell), bool(best) and metric.written(cell["value"]) == best)


def changed(cell: Cell, metric: MetricFormat, notes: Notes) -> Item:
    """A difference with its verdict."""
    if cell["value"] is None:
        return missing(cell.get("reason") or "not given", notes)
    verdict = SYMBOLS.get(cell.get("verdict") or "", "")
    return Item(metric.difference(cell), metric.interval(cell, signed=True), verdict=verdict)
