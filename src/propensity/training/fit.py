"""From a configuration to a fitted network: Lightning's trainer with its callbacks and loggers."""

from __future__ import annotations

import logging
import math
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import lightning.pytorch as pl
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, ProgressBar, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from propensity.config import TrainConfig
from propensity.errors import ConfigurationError
from propensity.metric.declaration import Metric
from propensity.model.offer_net import OfferNet
from propensity.progress import CURRENT, as_json
from propensity.training.averaging import PolynomialAveraging
from propensity.training.curve import rows
from propensity.training.data_module import PropensityDataModule
from propensity.training.length import GUESS, UNVALIDATED, EndAtStep, EndByValidation, Length
from propensity.training.metric import DEFAULT, TRAIN_LOSS, mode, validation_metrics
from propensity.training.module import Loss, PropensityModule
from propensity.training.settings import TrainingConfig
from propensity.training.storage import CheckedCheckpointIO, check_checkpoint
from propensity.training.track import build_loggers, close, introduce
from propensity.training.validation import ValidationMetrics

PROGRESS = "progress"  # folder inside a run, there only while it is unfinished
CHECKPOINTS = "checkpoints"  # folder inside a run, of callbacks that keep checkpoints


class Fitted(NamedTuple):
    """How a fit ended: epochs and optimizer steps of the training; the step of the weights, and metrics at it."""

    epochs: int
    steps: int
    step: int
    metrics: dict[str, float]
    ended: bool = False  # by validation, before the longest training


class Stage(NamedTuple):
    """A part of a run: with a validation that says how long to train, or for a known number of steps.

    Parameters
    ----------
    name : of its folder in the run's state to resume from.
    resume : checkpoint of an interrupted fit; None starts anew.
    steps : optimizer steps; None: those of the trainer's settings, or as many as validation finds best.
    loggers : whether the loggers of the run follow it.
    """

    name: str
    resume: str | None = None
    steps: int | None = None
    loggers: bool = True


def fit(
    model: OfferNet, loss: Loss, data: PropensityDataModule, config: TrainConfig, out: Path, stage: Stage
) -> Fitted:
    """Fits a network in place; leaves logs and the state to resume from in a folder.

    The network gets the averaged weights where `training.averaging` is set, and those of the best validation where the
    validation ends the training, or a `ModelCheckpoint` of `callbacks` monitors a metric.

    Parameters
    ----------
    model : whose parameters are fitted.
    loss : from outputs, outcomes and weights to `Terms`.
    data : batches of training, and of validation if there is one.
    config : of which training, trainer, optimizer, scheduler, callbacks and logger are read.
    out : folder of the run.
    stage : which part of the run it is.
    """
    settings: TrainingConfig = instantiate(config.training, _convert_="all")
    if settings.threads is not None and config.trainer.get("accelerator") == "cpu":
        torch.set_num_threads(settings.threads)
    length, resume = data.length, stage.resume
    loggers = build_loggers(config, out, resume) if stage.loggers else []
    steps = steps_at_most(config.trainer, length, data.validation is not None, stage.steps)
    own = build_callbacks(config, settings, data, out, stage)
    loss_of_epoch = KeepLoss()
    callbacks = [
        KeepCurve(loggers if resume else ()),
        loss_of_epoch,
        *([] if steps is None else [EndAtStep(steps)]),
        *own,
    ]
    validations = [each for each in callbacks if isinstance(each, ValidationMetrics)]
    with quiet():
        if stage.loggers:
            introduce(config, loggers, out)
        limits = trainer_limits(config.trainer, length, data.validation is not None, stage.steps)
        trainer = build_trainer(config.trainer | limits, callbacks, loggers, out)
        module = PropensityModule(
            model,
            loss,
            instantiate(config.optimizer, _partial_=True, _convert_="all"),
            instantiate(config.scheduler, _partial_=True, _convert_="all") if config.scheduler else None,
            data.seed,
            steps,
        )
        if settings.compile:
            for member in model.members:
                member.compile(dynamic=True)
        try:
            trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
            if any(each.behind(trainer.global_step) for each in validations):  # stopped between two validations
                trainer.validate(module, datamodule=data, verbose=False)
        except MisconfigurationException as error:
            raise ConfigurationError(f"Lightning refuses the training: {error}") from error
        finally:
            close(loggers)
    step = restore_best(trainer, module, resume)
    trainer.strategy.barrier()  # a checkpoint is there until all processes have read it
    ended = any(isinstance(each, EndByValidation) and each.ended for each in callbacks)
    metrics = final_metrics(trainer, validations, step, loss_of_epoch.value)
    return Fitted(trainer.current_epoch, trainer.global_step, step, metrics, ended)


def open_ended(trainer: Mapping[str, Any]) -> bool:
    """Whether the settings of the trainer leave the length of the training to validation."""
    return trainer.get("max_epochs") is None and trainer.get("max_steps") in (None, -1) and not trainer.get("max_time")


def steps_at_most(trainer: Mapping[str, Any], length: Length, validated: bool, steps: int | None = None) -> int | None:
    """Optimizer steps at which a training ends at the latest; None: its epochs or its time end it.

    Parameters
    ----------
    trainer : the settings; a length that they give is kept.
    length : sizes of the training.
    validated : whether there is a validation.
    steps : known number of optimizer steps.
    """
    if steps is not None:
        return steps
    if not open_ended(trainer):
        return None if trainer.get("max_steps") in (None, -1) else int(trainer["max_steps"])
    return length.max_steps if validated else max(int(GUESS * length.pass_steps), UNVALIDATED)


def trainer_limits(
    trainer: Mapping[str, Any], length: Length, validated: bool, steps: int | None = None
) -> dict[str, Any]:
    """Arguments of Lightning's trainer that say when training ends and when it validates.

    Parameters are those of `steps_at_most`, which `EndAtStep` ends: a trainer with a number of steps of its own runs an
    empty epoch when it resumes, and its epochs are counted wrong from then on.
    """
    if steps is not None:
        return {"max_steps": -1, "max_epochs": -1, "max_time": None}
    if not open_ended(trainer):
        unlimited = trainer.get("max_epochs") is None and trainer.get("max_steps") not in (None, -1)
        return {"max_steps": -1} | ({"max_epochs": -1} if unlimited else {})
    limits: dict[str, Any] = {"max_steps": -1, "max_epochs": -1}
    if validated and trainer.get("val_check_interval") is None and trainer.get("check_val_every_n_epoch") in (None, 1):
        limits |= {"val_check_interval": length.interval, "check_val_every_n_epoch": None}
    return limits


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of Lightning about what a run does on purpose."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # Batches are made by kernels in this process: loader workers would only copy them.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
        warnings.filterwarnings("ignore", message=".*Experiment logs directory .* exists and is not empty.*")
        warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
        warnings.filterwarnings("ignore", message="Total length of `list` across ranks is zero.*")  # no validation
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # an older name of torch's, in Lightning
        yield


def build_trainer(
    arguments: Mapping[str, Any], callbacks: list[Callback], loggers: list[Logger], out: Path
) -> pl.Trainer:
    """Lightning's trainer; ConfigurationError where it refuses its arguments."""
    own = dict(arguments) | {
        "enable_progress_bar": any(isinstance(each, ProgressBar) for each in callbacks),
        "logger": loggers or False,
        "callbacks": callbacks,
        "use_distributed_sampler": False,
        "default_root_dir": str(out),
    }
    plugins = own.get("plugins") or []
    own["plugins"] = [*(plugins if isinstance(plugins, list | tuple) else [plugins]), CheckedCheckpointIO()]
    try:
        return pl.Trainer(**instantiate({key: own[key] for key in own if key != "_target_"}, _convert_="all"))
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise ConfigurationError(f"Lightning's Trainer refuses its arguments: {error}") from error


def build_callbacks(
    config: TrainConfig, settings: TrainingConfig, data: PropensityDataModule, out: Path, stage: Stage
) -> list[Callback]:
    """The callbacks of every run, then those of the group `callbacks`."""
    metrics = validation_metrics(config.metrics)
    callbacks: list[Callback] = []
    if config.trainer.get("enable_checkpointing") is not False:
        callbacks.append(
            ModelCheckpoint(
                out / PROGRESS / stage.name, filename="last", save_on_train_epoch_end=True, enable_version_counter=False
            )
        )
    if settings.averaging is not None:
        callbacks.append(PolynomialAveraging(settings.averaging))
    if data.validation is not None:
        places = [place for place, _ in data.validation.blocks]
        monitored = [part["monitor"] for part in config.callbacks.values() if part and part.get("monitor")]
        purchase_days = data.task.feature.pair.index("purchase_days")
        held_out = data.validation.held_out(settings.held_out)
        callbacks.append(ValidationMetrics(places, purchase_days, metrics, monitored, held_out))
    if stage.steps is not None:  # the callbacks of the group chose the number of steps
        return callbacks + progress_bar(config, [])
    chosen = [built(name, part, out, metrics) for name, part in config.callbacks.items() if part is not None]
    if data.validation is not None and open_ended(config.trainer):
        own = not any(keeps_best(each) for each in chosen)
        callbacks.append(EndByValidation(DEFAULT, out / PROGRESS / stage.name / "best.ckpt" if own else None))
    callbacks += chosen
    return callbacks + progress_bar(config, chosen)


def keeps_best(callback: Callback) -> TypeGuard[ModelCheckpoint]:
    """Whether a callback keeps the checkpoint of the best value of a metric."""
    return isinstance(callback, ModelCheckpoint) and callback.monitor is not None


def progress_bar(config: TrainConfig, chosen: Sequence[Callback]) -> list[Callback]:
    """A bar on a terminal, else lines; none where it is not wanted or chosen otherwise."""
    if not config.trainer.get("enable_progress_bar", True) or any(isinstance(each, ProgressBar) for each in chosen):
        return []
    return [RichProgressBar(refresh_rate=5) if sys.stderr.isatty() and not as_json() else EpochLines()]


def built(name: str, part: dict[str, Any], out: Path, metrics: Sequence[Metric]) -> Callback:
    """A callback; one that monitors a metric gets the mode that fits it, and checkpoints a place in the run."""
    more: dict[str, Any] = {}
    metric = part.get("monitor")
    if metric is not None and not part.get("mode") and metric.startswith(("val/", "train/")):
        more["mode"] = mode(f"callbacks.{name}", metric, metrics)
    if part["_target_"].endswith(".ModelCheckpoint") and not part.get("dirpath"):
        more["dirpath"] = str(out / CHECKPOINTS)
    made = instantiate({**part, **more}, _convert_="all")
    if not isinstance(made, Callback):
        raise ConfigurationError(
            f"callbacks.{name} makes a {type(made).__name__}; give a subclass of Lightning's Callback"
        )
    return made


def restore_best(trainer: pl.Trainer, module: pl.LightningModule, resume: str | None) -> int:
    """Loads the weights of the best checkpoint that a callback kept, if one did; returns the step of the weights.

    A fit that was over when it was interrupted makes no step and swaps no weights: it gets those of its checkpoint.
    """
    best = list(best_checkpoints(trainer))
    path = best[0] if best else resume
    if path is None:
        return trainer.global_step
    check_checkpoint(Path(path))
    content = torch.load(path, map_location="cpu", weights_only=True)
    if best or content["global_step"] == trainer.global_step:
        module.load_state_dict(content["state_dict"])
        return int(content["global_step"])
    return trainer.global_step


def best_checkpoints(trainer: pl.Trainer) -> Iterator[str]:
    """Files of the best checkpoints of a training, by metrics that callbacks monitor."""
    for each in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(each, ModelCheckpoint) and keeps_best(each) and each.best_model_path:
            yield each.best_model_path
        elif isinstance(each, EndByValidation) and each.checkpoint is not None and each.best_step > 0:
            yield str(each.checkpoint)


def final_metrics(
    trainer: pl.Trainer, validations: Sequence[ValidationMetrics], step: int, loss: float | None
) -> dict[str, float]:
    """The mean training loss of the last epoch, and the validation of the weights at a step, or the last before it."""
    now = trainer.callback_metrics.get(TRAIN_LOSS, loss)
    rows = [row for each in validations for row in each.history if row["step"] <= step]
    validated = {name: value for name, value in rows[-1].items() if name.startswith("val/")} if rows else {}
    return ({} if now is None else {TRAIN_LOSS: float(now)}) | validated


class KeepLoss(Callback):
    """Keeps the mean training loss of the last epoch for a resumed training that was over and makes no step."""

    value: float | None = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.value = float(trainer.callback_metrics[TRAIN_LOSS]) if TRAIN_LOSS in trainer.callback_metrics else None

    def state_dict(self) -> dict[str, Any]:
        return {} if self.value is None else {"value": self.value}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.value = state_dict.get("value")


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
        self.write(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.write(trainer)  # of a training that was over, and did not start again

    def write(self, trainer: pl.Trainer) -> None:
        """Logs the earlier rows, once."""
        earlier_rows, self.earlier = self.earlier, []
        for logger, earlier in earlier_rows:
            for row in (row for row in earlier if row["step"] < trainer.global_step):
                values: dict[str, Any] = {
                    name: int(cell) if name == "epoch" else cell for name, cell in row.items() if name != "step"
                }
                logger.log_metrics(values, step=int(row["step"]))


class EpochLines(Callback):
    """A line per epoch, for logs and pipes, where a bar would fill pages: mean training loss, and validation.

    In between the running command says how many steps are done.
    """

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.first, self.started = trainer.global_step, time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        done, total = trainer.global_step - self.first, trainer.estimated_stepping_batches
        if (progress := CURRENT.get()) is not None and done > 0 and math.isfinite(total):
            progress.count("training steps", done, max(int(total) - self.first, done), self.started)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.began = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        shown = {"loss": "train/loss", "val/loss": "val/loss", "val/log_loss": "val/log_loss", "val/auc": "val/auc"}
        known = trainer.callback_metrics
        values = ", ".join(f"{title} {float(known[name]):.4f}" for title, name in shown.items() if name in known)
        of = f" of {trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
        seconds = time.perf_counter() - self.began
        print(f"epoch {trainer.current_epoch + 1}{of}: {values} in {seconds:.0f} s", file=sys.stderr, flush=True)
