"""The result of a decision: tables, a summary as JSON, sentences and a picture; and how it is saved and shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table

from propensity import audit
from propensity.atomic import whole_folder
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError
from propensity.scores import WARNINGS

PREVIEW_ROWS = 15
SUMMARY = "summary.json"
IGNORED = "consent is ignored"  # how the sentence begins that also stands in the metadata of the tables


@dataclass(frozen=True)
class DecisionResult:
    """Tables, sentences and a picture.

    Parameters
    ----------
    name : str
        Of the decision, and of its main files.
    table : pl.DataFrame
        The decision, one row per thing decided.
    sentences : list[str]
        What a reader should know, one sentence each.
    preview : pl.DataFrame
        The table that a terminal shows.
    summary : dict[str, Any]
        Every number of the result, for JSON.
    picture : Callable[[Any], None]
        Draws into an empty Matplotlib figure.
    extra_tables : dict[str, pl.DataFrame]
        Further tables, by name.
    page : str, optional
        HTML that needs no network.
    """

    name: str
    table: pl.DataFrame
    sentences: list[str]
    preview: pl.DataFrame
    summary: dict[str, Any]
    picture: Callable[[Any], None]
    extra_tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    page: str | None = None


def in_currency(result: DecisionResult, currency: str | None) -> DecisionResult:
    """Name the currency of the amounts of a result.

    Parameters
    ----------
    result : DecisionResult
        Result.
    currency : str or None
        Its currency; None where the log does not name one.

    Returns
    -------
    DecisionResult
        The result with the currency in its summary and in a sentence.
    """
    if not currency:
        return result
    sentences = [*result.sentences, f"amounts are in {currency}"]
    return replace(result, sentences=sentences, summary=result.summary | {"currency": currency})


def save(result: DecisionResult, out: str | Path) -> None:
    """Writes <name>.parquet, <name>.png, summary.json and further tables into a folder, all or none.

    Parameters
    ----------
    result : DecisionResult
        What to write.
    out : str or Path
        New folder, or one that holds an earlier result, which is replaced.

    Raises
    ------
    ConfigurationError
        If `out` is a file or a folder with other contents.
    """
    from propensity.decision.picture import draw

    out = Path(out)
    if out.suffix in (".parquet", ".csv", ".png", ".html", ".json") or out.is_file():
        raise ConfigurationError(f"{out} is no folder; a decision leaves several files: give out={out.with_suffix('')}")
    if out.is_dir() and any(out.iterdir()) and not (out / SUMMARY).is_file():
        raise ConfigurationError(f"{out} holds something else than a decision; give another folder")
    ignored = result.summary.get("consent", {}).get("ignored", False)
    notes = [sentence for sentence in result.sentences if sentence.startswith(IGNORED)] if ignored else []
    metadata = {WARNINGS: json.dumps(notes)} if notes else None
    with whole_folder(out) as draft:
        for name, table in {result.name: result.table, **result.extra_tables}.items():
            table.write_parquet(draft / f"{name}.parquet", metadata=metadata)
        (draft / SUMMARY).write_text(json.dumps(result.summary, indent=1, default=str))
        draw(result.picture, draft / f"{result.name}.png")
        if result.page is not None:
            (draft / f"{result.name}.html").write_text(result.page)


def record(result: DecisionResult, out: str | Path, scores: str | Path, log: EventLog | None) -> Path:
    """Append a line to the audit log: which decision was made from which scores, and where it lies.

    Parameters
    ----------
    result : DecisionResult
        Result.
    out : str or Path
        What was written.
    scores : str or Path
        Table of scores.
    log : EventLog or None
        The event log, if the decision knows it; `propensity forget` then finds the result.

    Returns
    -------
    Path
        The audit log: of scores in a run the one beside the run, else the one beside the scores; where that folder is
        read-only, the one beside the result.
    """
    entry = {"decision": result.name, "scores": str(scores)}
    if log is not None:
        entry |= {"log": str(log.folder), "fingerprint": log.fingerprint}
    beside, above = Path(scores).resolve().parents[:2]
    is_run = (beside / "config.yaml").is_file() or (above / audit.FILE).is_file()
    folder = above if is_run and not (beside / audit.FILE).is_file() else beside
    return audit.append_beside(folder, out, "decide", entry)


def show(result: DecisionResult, out: str | Path) -> None:
    """Prints the preview, the sentences and the names of the files.

    Parameters
    ----------
    result : DecisionResult
        What to print, for a terminal of 80 columns.
    out : str or Path
        Folder, or file, that was written.
    """
    screen = Console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name, kind in result.preview.schema.items():
        table.add_column(name.replace("_", " "), justify="right" if kind.is_numeric() else "left")
    for row in result.preview.head(PREVIEW_ROWS).iter_rows():
        table.add_row(*map(cell, row))
    screen.print(table)
    for sentence in result.sentences:
        screen.print(sentence, highlight=False, markup=False)
    out = Path(out)
    files = ": " + ", ".join(sorted(path.name for path in out.iterdir())) if out.is_dir() else ""
    screen.print(f"{out}{files}", style="dim", highlight=False, markup=False)


def cell(value: Any) -> str:
    """A value of a table as text.

    Examples
    --------
    >>> cell(1234.567), cell(0.01234), cell(None), cell(12), cell(float("inf"))
    ('1,234.6', '0.0123', '-', '12', 'inf')
    """
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 100 else f"{value:,.2f}" if abs(value) >= 1 else f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
