"""Tables as the template renders them: a value, its interval and verdict, or a dash with a footnote on the reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from propensity.report.number import DASH, Cell, MetricFormat

SYMBOLS = {"win": "▲ win", "tie": "● tie", "loss": "▼ loss"}


class TableCell(NamedTuple):
    """The text of a table cell, a smaller second line, and whether it is the best; a verdict; a footnote's number."""

    text: str
    below: str = ""
    best: bool = False
    verdict: str = ""
    note: int = 0
    reason: str = ""


class Footnotes:
    """Reasons why values are missing, numbered in the order of their first use in a table."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def number(self, reason: str) -> int:
        """The number of a reason, the same for equal reasons."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        return self.reasons.index(reason) + 1


class HtmlTable(NamedTuple):
    """Titles, rows and footnotes; `hints` are shown when the pointer rests on a title."""

    head: list[str]
    rows: list[list[TableCell]]
    notes: list[str]
    hints: list[str] = []


def missing_cell(reason: str, notes: Footnotes) -> TableCell:
    """A dash with a footnote."""
    return TableCell(DASH, note=notes.number(reason), reason=reason)


def best_of(cells: Sequence[Cell], metric: MetricFormat) -> str:
    """The best value as written, so that all values equal to it as written are marked; empty for fewer than two."""
    known = [cell["value"] for cell in cells if cell["value"] is not None]
    return metric.written(metric.best(known)) if len(known) > 1 else ""


def value_cell(cell: Cell, metric: MetricFormat, notes: Footnotes, best: str = "") -> TableCell:
    """A model's value with its interval; `best` is the best of its row as written."""
    if cell["value"] is None:
        return missing_cell(cell.get("reason") or "no reason stored", notes)
    is_best = bool(best) and metric.written(cell["value"]) == best
    return TableCell(metric.value(cell), metric.interval(cell), is_best)


def difference_cell(cell: Cell, metric: MetricFormat, notes: Footnotes) -> TableCell:
    """A difference with its interval and verdict."""
    if cell["value"] is None:
        return missing_cell(cell.get("reason") or "no reason stored", notes)
    verdict = SYMBOLS.get(cell.get("verdict") or "", "")
    return TableCell(metric.difference(cell), metric.interval(cell, signed=True), verdict=verdict)
