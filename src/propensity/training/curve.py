"""Learning curves: what a CSV logger wrote during a training, and the rows that a resumed one keeps."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger

METRICS = "log/metrics.csv"


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


class KeepCurve(Callback):
    """A resumed training keeps the rows that CSV loggers wrote before the checkpoint it goes on from.

    Parameters
    ----------
    loggers : of the training. Their rows are read here: a CSV logger deletes them when it is first used.
    """

    def __init__(self, loggers: Iterable[Any]) -> None:
        written = [logger for logger in loggers if isinstance(logger, CSVLogger)]
        self.earlier = [(logger, list(rows(Path(logger.log_dir) / "metrics.csv"))) for logger in written]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for logger, earlier in self.earlier:
            for row in (row for row in earlier if row["step"] < trainer.global_step):
                values = {name: int(cell) if name == "epoch" else cell for name, cell in row.items() if name != "step"}
                logger.log_metrics(values, step=int(row["step"]))
