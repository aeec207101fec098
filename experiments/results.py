"""Rewrites the tables between the marks of README.md from the metrics of judged runs: `make results`.

python experiments/results.py runs/demo
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from propensity.atomic import whole_file

BEGIN, END = "<!-- results: make results -->", "<!-- /results -->"
COLUMNS = {
    "AUC": ("all", "auc"),
    "never bought": ("new", "auc"),
    "average precision": ("all", "ap"),
    "revenue caught by the best 10 %": ("all", "capture"),
    "of the possible": ("all", "capture_ratio"),
    "log loss": ("all", "logloss"),
    "calibration error": ("all", "ece"),
}
COMPARED = {
    "AUC": ("all", "auc"),
    "never bought": ("new", "auc"),
    "average precision": ("all", "ap"),
    "of the possible": ("all", "capture_ratio"),
    "log loss": ("all", "logloss"),
}
TITLES = {
    "demo": "Complete Journey, product categories, one network for all dates",
    "backtest": "Complete Journey, product categories",
    "product_type": "Complete Journey, product types",
    "ta_feng": "Ta-Feng, product subclasses",
}


def section(folder: Path) -> Iterator[str]:
    """One ground: models side by side, then the network minus each rival."""
    metrics = json.loads((folder / "metrics.json").read_text())
    offers = sorted({counts["offers"] for counts in metrics["counts"].values()})
    title, dates = TITLES.get(folder.name, folder.name), ", ".join(metrics["counts"])
    yield f"**{title}**, {dates}, {offers[0]} to {offers[-1]} offers:\n"
    yield "| model | " + " | ".join(COLUMNS) + " |\n|---|" + "---:|" * len(COLUMNS)
    for name, cells in metrics["models"].items():
        yield f"| {name} | " + " | ".join(number(cells["mean"][s][m]) for s, m in COLUMNS.values()) + " |"
    yield "\n| network minus | " + " | ".join(COMPARED) + " |\n|---|" + "---|" * len(COMPARED)
    for rival, cells in metrics["differences"].items():
        yield f"| {rival} | " + " | ".join(difference(cells["mean"][s][m]) for s, m in COMPARED.values()) + " |"
    yield ""


def number(cell: dict[str, Any]) -> str:
    return "-" if cell["value"] is None else f"{cell['value']:.4f}".lstrip("0")


def difference(cell: dict[str, Any]) -> str:
    """Value, band and verdict."""
    if cell["value"] is None or cell["low"] is None:
        return "-"
    low, high = (f"{cell[end]:+.4f}".replace("0.", ".") for end in ("low", "high"))
    return f"{cell['value']:+.4f}".replace("0.", ".") + f" [{low}, {high}] {cell['verdict']}"


def main(folders: list[str]) -> None:
    readme = Path("README.md")
    before, _, rest = readme.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    lines = [line for folder in folders for line in section(Path(folder))]
    with whole_file(readme) as draft:
        draft.write_text(before + BEGIN + "\n" + "\n".join(lines) + END + after)


if __name__ == "__main__":
    main(sys.argv[1:])
