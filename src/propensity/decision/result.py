"""What a decision gives back: tables for programs, sentences and a picture for people."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table

from propensity.atomic import whole_folder
from propensity.errors import ConfigurationError

SHOWN = 15  # rows of a table that a terminal shows
MARK = "summary.json"


@dataclass(frozen=True)
class DecisionResult:
    """name: of the decision, and of its main files; table: the decision, one row per thing decided; said: sentences
    for a reader; shown: the table that a terminal shows; summary: every number of it, as JSON; more: further tables by
    name; picture: draws into a new Matplotlib figure; page: HTML of its own."""

    name: str
    table: pl.DataFrame
    said: list[str]
    shown: pl.DataFrame
    summary: dict[str, Any]
    picture: Callable[[Any], None]
    more: dict[str, pl.DataFrame] = field(default_factory=dict)
    page: str | None = None


def save(result: DecisionResult, out: str | Path) -> None:
    """Leaves <name>.parquet, <name>.png, summary.json and further tables in the folder, whole or not at all.

    Raises: ConfigurationError if `out` is a file or holds something else than an answer.
    """
    from propensity.decision.picture import draw

    out = Path(out)
    if out.suffix in (".parquet", ".csv", ".png", ".html", ".json") or out.is_file():
        raise ConfigurationError(f"{out} is no folder; a decision leaves several files: give out={out.with_suffix('')}")
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        raise ConfigurationError(f"{out} holds something else than a decision; give another folder")
    with whole_folder(out) as draft:
        for name, table in {result.name: result.table, **result.more}.items():
            table.write_parquet(draft / f"{name}.parquet")
        (draft / MARK).write_text(json.dumps(result.summary, indent=1, default=str))
        draw(result.picture, draft / f"{result.name}.png")
        if result.page is not None:
            (draft / f"{result.name}.html").write_text(result.page)


def show(result: DecisionResult, out: str | Path) -> None:
    """The answer on a terminal of 80 columns."""
    screen = Console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name, kind in result.shown.schema.items():
        table.add_column(name.replace("_", " "), justify="right" if kind.is_numeric() else "left")
    for row in result.shown.head(SHOWN).iter_rows():
        table.add_row(*map(cell, row))
    screen.print(table)
    for sentence in result.said:
        screen.print(sentence, highlight=False, markup=False)
    files = ", ".join(sorted(path.name for path in Path(out).iterdir()))
    screen.print(f"{out}: {files}", style="dim", highlight=False, markup=False)


def cell(value: Any) -> str:
    """A number as people read it.

    >>> cell(1234.567), cell(0.01234), cell(None), cell(12), cell(float("inf"))
    ('1,234.6', '0.0123', '-', '12', 'inf')
    """
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 100 else f"{value:,.2f}" if abs(value) >= 1 else f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
