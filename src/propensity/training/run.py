"""One training run: from a configuration to a folder that holds the network and how it was made."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint, RichProgressBar
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
from propensity.training.checkpoint import FILE, load_trained, save_trained
from propensity.training.data_module import PropensityDataModule
from propensity.training.module import Loss, MakeOptimizer, PropensityModule

JUDGEMENTS = ("metrics.json", "report.html", "report.md", "scores.parquet", "customers.parquet")
PROGRESS = "progress"  # folder inside a run, there only while it is unfinished


@dataclass
class TrainingConfig:
    """How a network is fitted: length, batches, optimizer, hardware.

    max_steps: batches after which a run ends (-1: it ends with its epochs). bucketed: customers with histories of like
    length share a batch, so that an encoder of events meets few empty slots. resident: the log waits on the device, and
    histories are gathered there. unbought: share that a batch keeps of the pairs with neither a past nor a purchase,
    weighed to stand for all; where offers are fine they are nearly all pairs, and take nearly all the time. threads: of
    torch on a CPU, None for its own choice; with more than one, each waits for the others at every layer, and for
    whoever else wants their cores.
    """

    optimizer: MakeOptimizer
    logger: Callable[..., Any] | None = None
    max_epochs: int = 3
    pairs_per_batch: int = 32_768
    length_bucketing: bool = False
    log_on_device: bool = False
    negative_rate: float = 1.0
    ema_decay: float | None = 0.995
    warmup: float = 0.1
    gradient_clip_val: float = 1.0
    accelerator: str = "cpu"
    devices: Any = 1
    strategy: str = "auto"
    precision: Any = "32-true"
    compile: bool = False
    max_steps: int = -1
    threads: int | None = 1
    progress: bool = True

    def loader(self, training_set: TrainingSet, task: Task, seed: int) -> PropensityDataModule:
        """The examples in the batches that these settings ask for."""
        return PropensityDataModule(
            training_set,
            task,
            self.pairs_per_batch,
            seed,
            self.length_bucketing,
            self.log_on_device,
            self.negative_rate,
        )

    def __call__(
        self, model: OfferNet, loss: Loss, loader: PropensityDataModule, out: Path, resume: str | None
    ) -> None:
        """Fits `model` in place; leaves logs and the state to resume from under `out`."""
        if self.threads is not None and self.accelerator == "cpu":
            torch.set_num_threads(self.threads)
        trainer = self.trainer(out)
        module = PropensityModule(model, loss, self.optimizer, self.warmup, loader.seed)
        if self.compile:
            for member in model.members:
                member.compile(dynamic=True)
        with warnings.catch_warnings():
            # Batches are made by kernels in this process: loader workers would only copy them.
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
            warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # an older name of torch's, in Lightning
            trainer.fit(module, datamodule=loader, ckpt_path=resume, weights_only=True)

    def trainer(self, out: Path) -> pl.Trainer:
        """Lightning's trainer; ConfigurationError if it would need a GPU that is not there."""
        if self.accelerator == "gpu" and not torch.cuda.is_available():
            raise ConfigurationError("training wants a GPU and torch sees none; use training=cpu")
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        callbacks: list[Callback] = [
            ModelCheckpoint(out / PROGRESS, filename="last", every_n_epochs=1, enable_version_counter=False)
        ]
        if self.ema_decay:
            callbacks.append(EMAWeightAveraging(decay=self.ema_decay, use_buffers=False))
        watched = self.progress and sys.stderr.isatty()
        if watched:
            callbacks.append(RichProgressBar(refresh_rate=5))
        elif self.progress:
            callbacks.append(EpochLines())
        return pl.Trainer(
            max_epochs=self.max_epochs,
            max_steps=self.max_steps,
            accelerator=self.accelerator,
            devices=self.devices,
            strategy=self.strategy,
            precision=self.precision,
            gradient_clip_val=self.gradient_clip_val,
            logger=self.logger(save_dir=out) if self.logger else False,
            callbacks=callbacks,
            enable_progress_bar=watched,
            enable_model_summary=False,
            use_distributed_sampler=False,
            log_every_n_steps=10,
            default_root_dir=out,
        )


class EpochLines(Callback):
    """A line an epoch, for logs and pipes, where a bar would fill pages."""

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.began = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            loss, seconds = float(trainer.callback_metrics["train/loss"]), time.perf_counter() - self.began
            epoch = f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"
            print(f"{epoch}: loss {loss:.4f} in {seconds:.0f} s", file=sys.stderr, flush=True)


def train(
    config: TrainConfig, out: str | Path | None = None, reuse: bool = False
) -> tuple[OfferNet, Task, TrainingSet, EventLog]:
    """Prepares, fits and saves; the seed and the data decide everything.

    An interrupted run of the same configuration and data goes on from its last whole epoch; with `reuse`, one that
    was finished with the very same code, configuration and data is read back instead.
    """
    folder = Path(out or config.out)
    if taken := next((place for place in (folder, *folder.parents) if place.is_file()), None):
        raise ConfigurationError(f"{taken} is a file; give another folder as out")
    pl.seed_everything(config.seed, verbose=False)
    task: Task = instantiate(config.data, _convert_="all")
    log = task.open()
    config = replace(config, data=resolved(config.data, task, log))
    bar = track if config.training["progress"] else (lambda items, label: items)
    training_set = task.training_set(log, bar)
    about = describe(asdict(config), log, task, training_set)
    if reuse and (done := finished(folder, about)):
        return done, task, training_set, log
    model: OfferNet = instantiate(config.model, sizes=task.feature.sizes(training_set.vocabulary))
    fit: TrainingConfig = instantiate(config.training, _convert_="all")
    loader = fit.loader(training_set, task, config.seed)
    model.fit_scales(loader.sample())
    with only_writer(folder) if getattr(rank_zero_only, "rank", 0) == 0 else nullcontext():
        keep_record(config.out, folder, log, task.log or task.default_log, about)
        resume = unfinished(folder, about)
        fit(model, instantiate(config.loss), loader, folder, resume)
        finish(folder, model, training_set, about)
    return model, task, training_set, log


def describe(config: Any, log: EventLog, task: Task, training_set: TrainingSet) -> dict[str, Any]:
    """What a run was: configuration, data, dates, code and library versions, in plain containers."""
    dates = [str(cutoff_data.market_stats.cutoff) for cutoff_data in training_set.cutoffs_data]
    return {
        "config": config,
        "seed": config["seed"],
        "data": log.fingerprint,
        "end": to_date(task.end_day(log)).isoformat(),
        "cutoffs": dates,
        "examples": int(sum(cutoff_data.row.size for cutoff_data in training_set.cutoffs_data)),
        "offers": len(training_set.features.offers),
        "commit": commit(),
        "libraries": libraries(),
    }


def libraries() -> dict[str, str]:
    """Versions of what a network's weights depend on."""
    return {name: version(name) for name in ("propensity", "torch", "lightning", "numpy", "polars", "numba")}


def commit() -> str | None:
    """The commit of the code, or None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None


def finished(folder: Path, about: dict[str, Any]) -> OfferNet | None:
    """The network in `folder`, if it came of the same code (no dirty checkout), configuration and data."""
    if not (folder / FILE).is_file() or about["commit"] is None or about["commit"].endswith("-dirty"):
        return None
    trained = load_trained(folder)
    return cast(OfferNet, trained.model) if trained.about == about else None


def unfinished(folder: Path, about: dict[str, Any]) -> str | None:
    """The state to resume from, if `folder` holds an interrupted run of the very same kind; else a clean start."""
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
    shutil.rmtree(progress, ignore_errors=True)
    progress.mkdir(parents=True)
    (progress / "about.json").write_text(note)


@rank_zero_only
def finish(folder: Path, model: OfferNet, training_set: TrainingSet, about: dict[str, Any]) -> None:
    """Leaves the checkpoint and the resolved configuration, and takes the unfinished state away."""
    if not all(torch.isfinite(p).all() for p in model.parameters()):
        raise GateError("training left weights that are not finite; lower training.optimizer.lr")
    for judgement in JUDGEMENTS:  # of the network that is being replaced
        (folder / judgement).unlink(missing_ok=True)
    save_trained(folder, model, training_set.vocabulary, about)
    with whole_file(folder / "config.yaml") as draft:
        draft.write_text(OmegaConf.to_yaml(about["config"]))
    shutil.rmtree(folder / PROGRESS, ignore_errors=True)
