"""Rewrites the tables between two marks from the metrics of evaluated runs: of README.md from the demo
(`make results`), of experiments/<question>.md from every other run folder, which is named like its question.

    python experiments/results.py runs/demo runs/recency
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from propensity.atomic import whole_file

BEGIN, END = "<!-- results", "<!-- /results -->"
# (slice, metric) of each column
COLUMNS = (
    ("all", "auc"),
    ("never-bought", "auc"),
    ("all", "average_precision"),
    ("all", "revenue_capture"),
    ("all", "normalised_revenue_capture"),
    ("all", "log_loss"),
    ("all", "ece"),
    ("all", "expected_over_observed"),
    ("all", "expected_over_observed_revenue"),
)
SLICES = (("lapsed", "auc"), ("dormant", "auc"), ("light", "auc"))
COMPARED = (
    ("all", "auc"),
    ("never-bought", "auc"),
    ("all", "average_precision"),
    ("all", "normalised_revenue_capture"),
    ("all", "log_loss"),
)
DEMO = "demo"
TITLES = {
    "demo": "Complete Journey, product categories, one network for all dates",
    "backtest": "Complete Journey, product categories",
    "product_type": "Complete Journey, product types",
    "single_product": "Complete Journey, single products",
    "ta_feng": "Ta-Feng, product subclasses",
}


def section(folder: Path) -> Iterator[str]:
    """One run: all models, then the first minus each of the others."""
    metrics = json.loads((folder / "metrics.json").read_text())
    more = () if folder.name == DEMO else SLICES
    offers = sorted({counts["offers"] for counts in metrics["counts"].values()})
    title, dates = TITLES.get(folder.name, folder.name.replace("_", " ")), ", ".join(metrics["counts"])
    listed = f"{offers[0]} to {offers[-1]}" if offers[0] < offers[-1] else str(offers[0])
    yield f"**{title}**, {dates}, {listed} offers:\n"
    titles = {name: metric["title"].replace("\u00a0", " ") for name, metric in metrics["metrics"].items()}
    yield from table("model", COLUMNS + more, titles, metrics["models"], number)
    first = next(name for name in metrics["models"] if name not in metrics["differences"])
    yield ""
    yield from table(f"{first} minus", COMPARED + more, titles, metrics["differences"], difference)
    yield ""


def table(
    corner: str,
    columns: tuple[tuple[str, str], ...],
    titles: dict[str, str],
    rows: dict[str, Any],
    write: Callable[[dict[str, Any]], str],
) -> Iterator[str]:
    """A Markdown table of the means over the cutoffs, a row for each name."""
    head = [titles[metric] if name == "all" else f"{titles[metric]}, {name}" for name, metric in columns]
    yield f"| {corner} | " + " | ".join(head) + " |\n|---|" + "---:|" * len(columns)
    for model, cells in rows.items():
        yield f"| {model} | " + " | ".join(write(cells["mean"][name][metric]) for name, metric in columns) + " |"


def number(cell: dict[str, Any]) -> str:
    return "-" if cell["value"] is None else f"{cell['value']:.4f}".lstrip("0")


def difference(cell: dict[str, Any]) -> str:
    """Value, 95 % interval and verdict."""
    if cell["value"] is None or cell["low"] is None:
        return "-"
    low, high = (f"{cell[end]:+.4f}".replace("0.", ".") for end in ("low", "high"))
    return f"{cell['value']:+.4f}".replace("0.", ".") + f" [{low}, {high}] {cell['verdict']}"


def main(folders: list[str]) -> None:
    for folder in map(Path, folders):
        page = Path("README.md" if folder.name == DEMO else f"experiments/{folder.name}.md")
        before, mark, rest = page.read_text().partition(BEGIN)
        opened, _, rest = rest.partition("-->\n")
        after = rest.partition(END)[2]
        with whole_file(page) as draft:
            draft.write_text(before + mark + opened + "-->\n" + "\n".join(section(folder)) + END + after)


if __name__ == "__main__":
    main(sys.argv[1:])
