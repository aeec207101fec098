"""The tables of docs/features.md, from the declarations: `python -m propensity.feature.table docs/features.md`."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

from propensity.feature.column import BLOCKS, BUILT_IN
from propensity.kernel.column import Block, FeatureColumn

DAYS = {"window": "w", "half_life": "h", None: ""}
SECTION = r"(<!-- columns {block} -->\n).*?(\n<!-- /columns {block} -->)"


def table(block: Block) -> str:
    """One block's columns as Markdown: name, meaning, NaN, value on an empty history, roles, reason, group."""
    rows = [_row(column) for column in BUILT_IN[block]]
    return "\n".join(
        ["| column | meaning | missing | empty | roles | reason | group |", "|---|---|---|---|---|---|---|", *rows]
    )


def update_tables(page: str) -> str:
    """Replace the table of each block between its marks in a Markdown page."""
    for block in BLOCKS:
        pattern = re.compile(SECTION.format(block=block), re.DOTALL)
        page = pattern.sub(lambda marks, block=block: marks[1] + table(block) + marks[2], page)  # type: ignore[misc]
    return page


def _row(column: FeatureColumn) -> str:
    name, meaning = (text.format(DAYS[column.per]) for text in (column.name, column.meaning))
    roles = [role for role in ("optional", "ranked", "gate") if getattr(column, role)]
    missing, empty = column.missing or "never", _empty(column.empty)
    cells = (f"`{name}`", meaning, missing, empty, ", ".join(roles), column.reason, column.group)
    return f"| {' | '.join(cells)} |"


def _empty(value: float | None) -> str:
    if value is None:
        return "varies"
    return "missing" if math.isnan(value) else f"{value:g}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(update_tables(path.read_text()))
