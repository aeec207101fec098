"""Folders that `clv` and `churn` write: tables, summary.json and checksums."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from propensity.atomic import whole_folder
from propensity.checksum import seal_folder
from propensity.data.table_file import write_table
from propensity.errors import ConfigurationError
from propensity.value.churn import Churn
from propensity.value.valuation import Valuation

SUMMARY, PAGE = "summary.json", "page.html"


def check_folder(out: str | Path) -> None:
    """Refuse an `out` that is a file, or a folder with something else than an earlier result."""
    out = Path(out)
    if out.is_file() or out.suffix in (".parquet", ".csv", ".json", ".html"):
        raise ConfigurationError(f"{out} is no folder; the result is several files: give out={out.with_suffix('')}")
    if out.is_dir() and any(out.iterdir()) and not (out / SUMMARY).is_file():
        raise ConfigurationError(f"{out} holds something else than values; give another folder as out")


def save_values(valuation: Valuation, out: str | Path, page: str) -> None:
    """Write clv.parquet, curve.parquet, summary.json and the page with their checksums, all or none."""
    _save({"clv": valuation.table, "curve": valuation.curve}, valuation.summary, page, out)


def save_churn(churn: Churn, out: str | Path, page: str) -> None:
    """Write churn.parquet, summary.json and the page with their checksums, all or none."""
    _save({"churn": churn.table}, churn.summary, page, out)


def _save(tables: dict[str, pl.DataFrame], summary: dict[str, Any], page: str, out: str | Path) -> None:
    check_folder(out)
    metadata = {"propensity.cutoff": str(summary["cutoff"]), "propensity.currency": str(summary["currency"] or "")}
    with whole_folder(out) as draft:
        for name, table in tables.items():
            write_table(table, draft / f"{name}.parquet", metadata)
        (draft / SUMMARY).write_text(json.dumps(_plain(summary), indent=1, allow_nan=False) + "\n")
        (draft / PAGE).write_text(page, encoding="utf-8")
        seal_folder(draft)


def _plain(value: Any) -> Any:
    """Containers for JSON, with null for numbers that are not finite.

    Examples
    --------
    >>> _plain({"a": (1.0, float("nan"))})
    {'a': [1.0, None]}
    """
    if isinstance(value, dict):
        return {str(key): _plain(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def show(summary: dict[str, Any], out: str | Path) -> None:
    """Print what a reader should know, and the names of the files."""
    screen = Console()
    unit = f" {summary['currency']}" if summary.get("currency") else ""
    lines = [f"{summary['customers']:,} customers on {summary['cutoff']}"]
    for weeks, total in summary.get("expected", {}).items():
        lines.append(
            f"{weeks} weeks: {total['active']:,.0f} customers with an order, {total['orders']:,.0f} orders, "
            f"revenue {total['revenue']:,.2f}{unit}"
        )
    if "alarms" in summary:
        lines.append(
            f"{summary['expected_churners']:,.0f} customers without an order in {summary['weeks']} weeks are expected; "
            f"{summary['alarms']:,} are behind their own rhythm"
        )
    lines += [f"left out: {count:,} {reason}" for reason, count in summary["left_out"].items()]
    lines += [f"warning: {sentence}" for sentence in summary["warnings"]]
    for line in lines:
        screen.print(line, highlight=False, markup=False)
    files = ", ".join(sorted(path.name for path in Path(out).iterdir()))
    screen.print(f"{out}: {files}", style="dim", highlight=False, markup=False)
