"""Prints the reasons of a score, and what the model relies on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from propensity.explain.reasons import Reason, Reasons
from propensity.explain.section import KINDS, ordered
from propensity.report.table import plain_table


def show_reasons(reasons: Reasons, largest: Sequence[Reason]) -> None:
    """Prints the score of a customer and offer, and its reasons.

    Parameters
    ----------
    reasons : Reasons
        Of the score.
    largest : sequence of Reason
        Those that are printed.
    """
    screen, carried = Console(), reasons.carried(len(largest))
    chance = 1 / (1 + math.exp(-reasons.score))
    lines = [
        f"{reasons.facts.offer}: log-odds {reasons.score:.2f}, a probability of {100 * chance:.2g} %",
        f"  {reasons.base_value:+.2f}  Base value: a customer without history and a typical offer.",
        *(f"  {reason.contribution:+.2f}  {reason.text}" for reason in largest),
    ]
    if left := reasons.left(len(largest)):
        lines.append(f"  {left:+.2f}  All other reasons together.")
    for line in lines:
        screen.print(line, highlight=False, markup=False)
    words = f"all values are log-odds and add up to the score; the {len(largest)} reasons carry"
    screen.print(f"  {words} {100 * carried:.0f} % of it", style="dim", highlight=False)


def show_reliance(section: Mapping[str, Any], out: str) -> None:
    """Prints what the model relies on.

    Parameters
    ----------
    section : mapping
        Result of `propensity.explain.reliance.reliance`.
    out : str
        The file that was written.
    """
    screen, carried = Console(), section["carried"]
    table = plain_table(f"mean absolute contribution to the log-odds, {section['customers']} customers")
    for title in ("group", "any offer", "best offer"):
        table.add_column(title, justify="left" if title == "group" else "right")
    for group in ordered(section):
        table.add_row(group["title"], *(f"{group[kind]['value']:.2f}" for kind in KINDS))
    screen.print(table)
    words = f"the {section['sentences']} largest reasons carry {100 * carried['any']:.0f} % of the median score, and"
    screen.print(
        f"{words} {100 * carried['best']:.0f} % of that of the best offer: {out}", highlight=False, markup=False
    )
