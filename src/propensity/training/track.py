"""Loggers: a run's configuration, curve and evaluation in one place of each."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra.utils import get_object, instantiate
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from propensity.atomic import whole_file
from propensity.config import TrainConfig
from propensity.csv_cell import neutral
from propensity.errors import ConfigurationError
from propensity.secret import without_secrets

CSV = "lightning.pytorch.loggers.CSVLogger"
WANDB = "lightning.pytorch.loggers.WandbLogger"
MLFLOW = "lightning.pytorch.loggers.MLFlowLogger"
TENSORBOARD = "lightning.pytorch.loggers.TensorBoardLogger"
IDS = {WANDB: "id", MLFLOW: "run_id"}  # the argument by which a logger goes on with a run of its own
FILE = "loggers.json"  # those ids, in the run folder, by the logger's name
EVALUATION = "evaluation.csv"


def first_process() -> bool:
    """Whether this is the only process of a training, or the first of several."""
    return getattr(rank_zero_only, "rank", 0) == 0


def build_loggers(config: TrainConfig, out: Path, resume: str | None) -> list[Logger]:
    """The loggers of the group `logger`; those of a resumed run go on with its runs at their services."""
    known = run_ids(out) if resume else {}
    return [build(name, part, out, known.get(name)) for name, part in config.logger.items() if part is not None]


def introduce(config: TrainConfig, loggers: Sequence[Logger], out: Path) -> None:
    """Tells the loggers the configuration, and notes in the run folder what services call the run."""
    for logger in loggers:
        logger.log_hyperparams(without_secrets(asdict(config)))
    if first_process():
        groups = [(name, part["_target_"]) for name, part in config.logger.items() if part is not None]
        ids = {name: run_id(target, logger) for (name, target), logger in zip(groups, loggers, strict=True)}
        write_ids(out, {name: value for name, value in ids.items() if value is not None})


def build(name: str, part: Mapping[str, Any], out: Path, known: str | None = None) -> Logger:
    """A logger that writes into the run folder where nothing else is said, and goes on with a known run of its own."""
    settings = {key: value for key, value in part.items() if key != "_partial_"}
    target = settings["_target_"]
    if target == MLFLOW and settings.get("tracking_uri") is None and not settings.get("save_dir"):
        settings.pop("tracking_uri", None)
        settings["save_dir"] = str(out / "mlruns")
    if "save_dir" not in settings and "save_dir" in get_object(target).__init__.__code__.co_varnames:
        settings["save_dir"] = str(out)
    if known is not None and target in IDS:
        settings[IDS[target]] = known
    made = instantiate(settings, _convert_="all")
    if not isinstance(made, Logger):
        raise ConfigurationError(f"logger.{name} makes a {type(made).__name__}; give a subclass of Lightning's Logger")
    return made


def run_id(target: str, logger: Any) -> str | None:
    """What the service calls the run; None for loggers that write files."""
    if target == WANDB:
        return str(logger.experiment.id)
    return str(logger.run_id) if target == MLFLOW else None


def run_ids(out: str | Path) -> dict[str, str]:
    """The ids of a run at its loggers, by name; empty where it has none."""
    path = Path(out) / FILE
    ids: dict[str, str] = json.loads(path.read_text()) if path.is_file() else {}
    return ids


def write_ids(out: Path, ids: Mapping[str, str]) -> None:
    if not ids:
        (out / FILE).unlink(missing_ok=True)
        return
    with whole_file(out / FILE) as draft:
        draft.write_text(json.dumps(ids))


def close(loggers: Iterable[Any]) -> None:
    """Ends what would otherwise take the next run of this process for the same."""
    for logger in loggers:
        if type(logger).__name__ == "WandbLogger" and first_process():
            logger.experiment.finish()


def log_evaluation(metrics: Mapping[str, Any], loggers: Mapping[str, Any] | None, out: str | Path) -> int:
    """Logs the numbers of `metrics` to the loggers of a run, in the same run there.

    Weights & Biases, MLflow and TensorBoard get them by their own means, a CSV logger as `evaluation.csv` beside its
    curve. A logger of another class is left alone: its name comes from a file.

    Parameters
    ----------
    metrics : content of metrics.json.
    loggers : the group `logger` of the run's configuration.
    out : folder of the run.

    Returns
    -------
    Numbers logged, times loggers.
    """
    values, ids, logged = dict(numbers(metrics)), run_ids(out), 0
    for name, part in (loggers or {}).items():
        target = (part or {}).get("_target_")
        if target == CSV:
            folder = Path(out) / str(part.get("name") or "") / str(part.get("version") or "")
            if Path(out).resolve() not in (folder.resolve(), *folder.resolve().parents):
                continue  # the name comes from a file and leads out of the run
            with whole_file(folder / EVALUATION) as draft, draft.open("w", newline="") as stream:
                csv.writer(stream).writerows(
                    [("metric", "value"), *((neutral(key), each) for key, each in values.items())]
                )
        elif target in (WANDB, MLFLOW, TENSORBOARD):
            log_verdict(build(name, part, Path(out), ids.get(name)), target, values, metrics.get("verdict"))
        else:
            continue
        logged += len(values)
    return logged


def log_verdict(logger: Any, target: str, values: Mapping[str, float], verdict: str | None) -> None:
    """Numbers and the verdict, as each service keeps words."""
    logger.log_metrics(values)
    if target == WANDB:
        logger.experiment.summary.update({"verdict": verdict})
        logger.experiment.finish()
    elif target == MLFLOW:
        logger.experiment.set_tag(logger.run_id, "verdict", str(verdict))
        logger.finalize("success")
    else:
        logger.experiment.add_text("verdict", str(verdict))
        logger.finalize("success")


def numbers(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Values and intervals of models and differences by their path in metrics.json: means over the cutoffs by slice,
    each cutoff for all pairs; the heuristics comparison; and the lift decay."""
    for part in ("models", "differences"):
        for model, dates in metrics[part].items():
            yield from _leaves(dates["mean"], f"{part}/{model}/mean")
            for date in (date for date in dates if date != "mean"):
                yield from _leaves(dates[date]["all"], f"{part}/{model}/{date}/all")
    yield from _leaves(metrics.get("heuristics") or {}, "heuristics")
    for point in (metrics.get("decay") or {}).get("points", []):
        yield from _leaves({key: point[key] for key in point if key != "weeks"}, f"decay/{point['weeks']}")


def _leaves(node: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(node, Mapping):
        for key, child in node.items():
            yield from _leaves(child, f"{path}/{key}")
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield path, float(node)
