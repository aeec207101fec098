"""One training run: from a configuration to a folder with the network and the record of its training."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import nullcontext
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import torch
from hydra.utils import instantiate
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import OmegaConf
from rich.progress import track

from propensity.atomic import only_writer, whole_file
from propensity.config import TrainConfig
from propensity.data.event_log import EventLog, to_date
from propensity.errors import ConfigurationError, GateError
from propensity.model.offer_net import OfferNet
from propensity.task import Task, TrainingSet, resolved
from propensity.training.audit import record
from propensity.training.base_rate import base_rates
from propensity.training.checkpoint import FILE, load_trained, save_trained
from propensity.training.curve import METRICS, SUMMARY
from propensity.training.fit import CHECKPOINTS, PROGRESS, Fitted, fit
from propensity.training.settings import TrainingConfig, check_settings
from propensity.training.track import first_process
from propensity.training.validation import Windows, validation_set, windows

EVALUATION = ("metrics.json", "report.html", "report.md", "scores.parquet", "customers.parquet", "curves.svg")


def train(
    config: TrainConfig, out: str | Path | None = None, reuse: bool = False
) -> tuple[OfferNet, Task, TrainingSet, EventLog]:
    """Prepares the data, fits the network and saves it; seed and data determine the weights.

    An interrupted run of the same configuration and data continues after its last whole epoch.

    Parameters
    ----------
    config : of the training.
    out : folder of the run; None: `config.out`.
    reuse : whether a run that was finished with the same code, configuration and data is loaded instead.

    Returns
    -------
    The network, the task, the training set and the event log.

    Raises
    ------
    ConfigurationError
        For a setting that `check_settings` refuses, label windows that are not complete, and a file in place of `out`.
    GateError
        If the loss or the weights are not finite.
    """
    folder = Path(out or config.out)
    check_settings(config)
    if taken := next((place for place in (folder, *folder.parents) if place.is_file()), None):
        raise ConfigurationError(f"{taken} is a file; give another folder as out")
    pl.seed_everything(config.seed, verbose=False)
    task: Task = instantiate(config.data, _convert_="all")
    log = task.open()
    settings: TrainingConfig = instantiate(config.training, _convert_="all")
    used = config.metrics if settings.validation else []  # others are those of an evaluation
    config = replace(config, data=resolved(config.data, task, log), metrics=used)
    chosen = windows(task, log, settings.validation)
    bar = track if config.trainer.get("enable_progress_bar", True) else (lambda items, label: items)
    training_set = chosen.task.training_set(log, bar)
    about = describe(asdict(config), log, chosen, training_set)
    if reuse and (done := finished(folder, about)):
        return done, task, training_set, log
    model: OfferNet = instantiate(config.model, sizes=task.feature.sizes(training_set.vocabulary))
    validation = validation_set(chosen, log, training_set.vocabulary, settings.validation_customers, config.seed)
    data = settings.data_module(training_set, task, config.seed, validation)
    model.fit_scales(data.sample())
    model.start_from(base_rates(training_set), torch.from_numpy(training_set.features.offer_code))
    with only_writer(folder) if first_process() else nullcontext():
        keep_record(config.out, folder, log, task.log or task.default_log, about)
        resume = unfinished(folder, about)
        fitted = fit(model, instantiate(config.loss), data, config, folder, resume)
        finish(folder, model, training_set, about, fitted)
    return model, task, training_set, log


def describe(config: Any, log: EventLog, chosen: Windows, training_set: TrainingSet) -> dict[str, Any]:
    """The record of a training: configuration, data, cutoffs, code and library versions, in plain containers.

    `end` is the first day after the last training label, `last_label` after the last one of validation as well.
    """
    dates = [str(cutoff_data.market_stats.cutoff) for cutoff_data in training_set.cutoffs_data]
    return {
        "config": config,
        "seed": config["seed"],
        "data": log.fingerprint,
        "end": to_date(chosen.task.end_day(log)).isoformat(),
        "cutoffs": dates,
        "validation": [str(cutoff) for cutoff in chosen.cutoffs],
        "last_label": to_date(chosen.end).isoformat(),
        "examples": int(sum(cutoff_data.row.size for cutoff_data in training_set.cutoffs_data)),
        "offers": len(training_set.features.offers),
        "commit": commit(),
        "libraries": libraries(),
    }


def libraries() -> dict[str, str]:
    """Versions of the packages that the weights depend on."""
    return {name: version(name) for name in ("propensity", "torch", "lightning", "numpy", "polars", "numba")}


def commit() -> str | None:
    """The commit of the code, or None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None


def finished(folder: Path, about: dict[str, Any]) -> OfferNet | None:
    """The network in `folder`, if its code (of a clean checkout), configuration and data are the same."""
    if not (folder / FILE).is_file() or about["commit"] is None or about["commit"].endswith("-dirty"):
        return None
    trained = load_trained(folder)
    return cast(OfferNet, trained.model) if trained.about == about else None


def unfinished(folder: Path, about: dict[str, Any]) -> str | None:
    """The checkpoint to resume from, if `folder` holds an interrupted run with the same record; None: a new start."""
    progress = folder / PROGRESS
    note, last = progress / "about.json", progress / "last.ckpt"
    if note.is_file() and last.is_file() and json.loads(note.read_text()) == about:
        return str(last)
    begin(progress, json.dumps(about))
    return None


@rank_zero_only
def keep_record(out: str, folder: Path, log: EventLog, place: str, about: dict[str, Any]) -> None:
    record(Path(out).parent, folder, log, place, about)


@rank_zero_only
def begin(progress: Path, note: str) -> None:
    for former in (progress, progress.with_name(CHECKPOINTS)):
        shutil.rmtree(former, ignore_errors=True)
    (progress.parent / METRICS).unlink(missing_ok=True)
    progress.mkdir(parents=True)
    (progress / "about.json").write_text(note)


@rank_zero_only
def finish(folder: Path, model: OfferNet, training_set: TrainingSet, about: dict[str, Any], fitted: Fitted) -> None:
    """Writes the checkpoint, the resolved configuration and the last metrics; removes the state to resume from."""
    if not all(torch.isfinite(p).all() for p in model.parameters()):
        raise GateError("training left weights that are not finite; lower optimizer.lr")
    for name in EVALUATION:  # of the network that is replaced
        (folder / name).unlink(missing_ok=True)
    save_trained(folder, model, training_set.vocabulary, about)
    with whole_file(folder / "config.yaml") as draft:
        draft.write_text(OmegaConf.to_yaml(about["config"]))
    with whole_file(folder / SUMMARY) as draft:
        draft.write_text(json.dumps(fitted._asdict(), indent=1))
    shutil.rmtree(folder / PROGRESS, ignore_errors=True)
