"""A sweep's jobs in one table: what each changed, its objective and its last metrics."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from propensity.atomic import whole_file
from propensity.command import SweepJob
from propensity.config import TrainConfig
from propensity.csv_cell import neutral
from propensity.errors import ConfigurationError
from propensity.metric.declaration import TINY, Metric
from propensity.report.curve import dots, standalone
from propensity.training.curve import final_metrics
from propensity.training.metric import DEFAULT, TRAIN_LOSS, direction, validation_metrics

FILE = "job.json"
FIXED = ("out", "objective")  # settings of which every job has its own, or the same
SHOWN = ("train/loss", "val/loss", "val/log_loss", "val/auc", "val/never_bought/auc")


class Row(NamedTuple):
    """A finished job: its folder's name, settings by key, the objective with its better values, and metrics."""

    job: str
    settings: dict[str, str]
    objective: str
    direction: str
    value: float
    metrics: dict[str, float]


def finish_job(cfg: TrainConfig, job: SweepJob | None) -> float | None:
    """The objective of a finished training; in a sweep, also its table: sweep.csv, sweep.md and sweep.svg.

    Parameters
    ----------
    cfg : of the training; `objective` names the metric, otherwise it is the validation log loss, or the training loss
        where nothing was validated.
    job : the job of the sweep; None outside one, where nothing is written.
    """
    metrics = final_metrics(cfg.out)
    name = cfg.objective or (DEFAULT if DEFAULT in metrics else TRAIN_LOSS)
    if name not in metrics:
        if job is None:
            return None
        raise ConfigurationError(f"objective={name} is undefined in {cfg.out}; choose one of {', '.join(metrics)}")
    if job is not None:
        better = direction(name, validation_metrics(cfg.metrics))
        note = {"command": job.command, "settings": job.settings, "objective": name, "direction": better}
        with whole_file(Path(cfg.out) / FILE) as draft:
            draft.write_text(json.dumps(note | {"metrics": metrics}, indent=1))
        save_table(Path(cfg.out).parent, load_jobs(Path(cfg.out).parent, job.command))
    return metrics[name]


def save_trials(study: Any, name: str, metric: Metric, folder: str | Path) -> None:
    """The same table and picture of the finished trials of a search."""
    rows = []
    for trial in (trial for trial in study.trials if trial.value is not None):
        values = final_metrics(Path(folder) / "trials" / str(trial.number))
        settings = {key: str(value) for key, value in trial.params.items()}
        rows.append(Row(str(trial.number), settings, name, metric.direction, values[name], values))
    save_table(Path(folder), rows)


def save_table(folder: Path, rows: Sequence[Row]) -> None:
    """Writes sweep.csv, sweep.md (best first) and sweep.svg."""
    with whole_file(folder / "sweep.csv") as draft:
        draft.write_text(as_csv(rows))
    with whole_file(folder / "sweep.md") as draft:
        draft.write_text(as_markdown(rows))
    with whole_file(folder / "sweep.svg") as draft:
        draft.write_text(standalone(dots([(label(row, rows), row.value) for row in ranked(rows)], rows[0].objective)))


def load_jobs(folder: Path, command: Sequence[str]) -> list[Row]:
    """The finished jobs in a folder that came of the same command, in their order."""
    rows = []
    for path in folder.glob(f"*/{FILE}"):
        note: dict[str, Any] = json.loads(path.read_text())
        if note["command"] == list(command):
            settings = dict(each.lstrip("+").partition("=")[::2] for each in note["settings"])
            value = note["metrics"][note["objective"]]
            rows.append(Row(path.parent.name, settings, note["objective"], note["direction"], value, note["metrics"]))
    return sorted(rows, key=lambda row: (len(row.job), row.job))


def ranked(rows: Sequence[Row]) -> list[Row]:
    """The jobs, best objective first."""
    if rows[0].direction == "closest to 1":
        return sorted(rows, key=lambda row: abs(math.log(max(row.value, TINY))))
    sign = -1 if rows[0].direction == "higher" else 1
    return sorted(rows, key=lambda row: sign * row.value)


def varied(rows: Sequence[Row]) -> list[str]:
    """Keys whose value differs between jobs; all of them where there is one job."""
    keys = list(dict.fromkeys(key for row in rows for key in row.settings if key not in FIXED))
    return [key for key in keys if len(rows) == 1 or len({row.settings.get(key) for row in rows}) > 1]


def label(row: Row, rows: Sequence[Row]) -> str:
    """What a job changed, in a word or two."""
    return " ".join(f"{key}={row.settings.get(key, '')}" for key in varied(rows)) or f"job {row.job}"


def as_csv(rows: Sequence[Row]) -> str:
    """One line per job: number, settings, objective and all metrics."""
    keys = list(dict.fromkeys(key for row in rows for key in row.settings if key not in FIXED))
    names = list(dict.fromkeys(name for row in rows for name in row.metrics))
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(map(neutral, ["job", *keys, "objective", *names]))
    for row in rows:
        values = [row.metrics.get(name, "") for name in names]
        cells = [row.job, *(row.settings.get(key, "") for key in keys), row.value, *values]
        table.writerow(map(neutral, cells))
    return stream.getvalue()


def as_markdown(rows: Sequence[Row]) -> str:
    """The jobs, best first, with the settings in which they differ, the objective and the usual metrics."""
    keys, objective = varied(rows), rows[0].objective
    names = [name for name in SHOWN if name != objective and any(name in row.metrics for row in rows)]
    lines = ["| " + " | ".join(["job", *keys, f"{objective} (objective)", *names]) + " |"]
    lines.append("|---|" + "---|" * len(keys) + "---:|" * (1 + len(names)))
    for row in ranked(rows):
        cells = [f"{row.metrics[name]:.4f}" if name in row.metrics else "" for name in names]
        settings = [row.settings.get(key, "") for key in keys]
        lines.append("| " + " | ".join([row.job, *settings, f"{row.value:.4f}", *cells]) + " |")
    return "\n".join(lines) + "\n"
