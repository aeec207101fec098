"""What a training measured of itself: learning curves, as a CSV logger wrote them, and the last metrics."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from propensity.errors import ConfigurationError

METRICS = "log/metrics.csv"
SUMMARY = "training.json"  # how the fit ended, with its last metrics


class Curve(NamedTuple):
    """A metric over a training: optimizer steps, ascending, and the value at each."""

    name: str
    step: list[int]
    value: list[float]


def load_curves(run: str | Path) -> dict[str, Curve]:
    """The learning curves of a run by metric, such as `train/loss_step`, `train/loss_epoch` and `val/auc`.

    Empty where the run kept none (`logger=none`).
    """
    points: dict[str, list[tuple[int, float]]] = {}
    for row in rows(Path(run) / METRICS):
        for name, value in row.items():
            if name not in ("step", "epoch"):
                points.setdefault(name, []).append((int(row["step"]), value))
    return {name: Curve(name, [s for s, _ in found], [v for _, v in found]) for name, found in points.items()}


def rows(path: Path) -> Iterator[dict[str, float]]:
    """The rows of a file of metrics, each with the cells that are filled."""
    if not path.is_file():
        return
    with path.open(newline="") as stream:
        for row in csv.DictReader(stream):
            if row.get("step"):
                yield {name: float(cell) for name, cell in row.items() if cell}


def final_metrics(run: str | Path) -> dict[str, float]:
    """The last metrics of a finished training, by name: of the weights that it kept, where it validated."""
    path = Path(run) / SUMMARY
    if not path.is_file():
        raise ConfigurationError(f"no {SUMMARY} in {run}; train it again")
    metrics: dict[str, float] = json.loads(path.read_text())["metrics"]
    return metrics
