"""One training run: from a configuration to a folder with the network and the record of its training."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, cast

import lightning.pytorch as pl
import torch
from hydra.utils import instantiate
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import OmegaConf
from rich.progress import track

from propensity.atomic import only_writer, whole_file
from propensity.baseline import chosen_names
from propensity.baseline.candidate import Candidate
from propensity.champion.champion import FILE as CHAMPION
from propensity.champion.champion import FOLDER as CANDIDATES
from propensity.champion.champion import KINDS, NETWORK, Champion, check_champion, fit_champion, judged
from propensity.champion.model_name import served_in_text
from propensity.checksum import seal_folder, unseal_folder
from propensity.config import TrainConfig
from propensity.data.cutoff import evaluation_warnings
from propensity.data.event_log import EventLog, to_date
from propensity.errors import ConfigurationError, DamageError, GateError
from propensity.model.offer_net import OfferNet
from propensity.progress import as_json, step
from propensity.progress import track as progress_track
from propensity.secret import without_secrets
from propensity.task import Task, TrainingSet, resolved
from propensity.training.audit import record
from propensity.training.calibrate import calibrate
from propensity.training.checkpoint import FILE, load_trained, save_trained
from propensity.training.curve import METRICS, SUMMARY
from propensity.training.data_module import PropensityDataModule
from propensity.training.fit import CHECKPOINTS, PROGRESS, Fitted, Stage, fit, open_ended
from propensity.training.length import Length, length_warnings
from propensity.training.metric import validation_metrics
from propensity.training.pretrained import Pretrained, pretrained_of, start_from_pretrained
from propensity.training.settings import TrainingConfig, check_settings
from propensity.training.storage import check_checkpoint
from propensity.training.track import first_process
from propensity.training.validation import Windows, validated, validation_set, windows
from propensity.training.warm import Warm, warm_from

RECORD = "about.json"
LOGGER = logging.getLogger(__name__)
EVALUATION = ("metrics.json", "report.html", "report.md", "scores.parquet", "customers.parquet", "curves.svg")


def train(
    config: TrainConfig, out: str | Path | None = None, reuse: bool = False
) -> tuple[OfferNet, Task, TrainingSet, EventLog]:
    """Prepares the data, fits the network and saves it; seed and data determine the weights.

    An interrupted run of the same configuration and data continues after its last whole epoch.

    Where the last label windows validate, a network is first trained without them. Their log loss says how long to
    train, and the candidates are compared on them. Then network and candidates are fitted again on all windows.

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
        For a setting that `check_settings` refuses, a champion that is no candidate, label windows that are not
        complete, and a file in place of `out`.
    GateError
        If the loss or the weights are not finite.
    """
    folder = Path(out or config.out)
    check_settings(config)
    if config.data.get("requests") is not None:
        raise ConfigurationError("data.requests is read by propensity train alone; other commands use common cutoffs")
    if taken := next((place for place in (folder, *folder.parents) if place.is_file()), None):
        raise ConfigurationError(f"{taken} is a file; give another folder as out")
    pl.seed_everything(config.seed, verbose=False)
    task: Task = instantiate(config.data, _convert_="all")
    log = task.open()
    task = task.for_log(log)
    settings: TrainingConfig = instantiate(config.training, _convert_="all")
    used = config.metrics if settings.validation else []  # others are those of an evaluation
    config = replace(config, data=resolved(config.data, task, log), metrics=used)
    chosen = windows(task, log, settings.validation)
    pretrained = pretrained_of(config, chosen.task.end_day(log))
    named = candidates(config)
    check_champion(config.champion, tuple(named), bool(chosen.cutoffs))
    bar = shown_parts if config.trainer.get("enable_progress_bar", True) else (lambda items, label: items)
    refit = settings.refit and bool(chosen.cutoffs)
    warm = warm_from(config)
    on_all = refit or warm is not None  # label windows, those of validation among them
    whole = replace(task, end=to_date(chosen.end).isoformat()) if on_all else chosen.task
    if warm is not None:
        closed = whole.cutoff.before(log, chosen.end, task.horizon)
        whole = replace(whole, cutoff=replace(whole.cutoff, count=warm.cutoffs(closed)))
    training_set = whole.training_set(log, bar, None if warm is None else warm.trained.vocabulary)
    about = describe(without_secrets(asdict(config)), log, chosen, training_set, on_all)
    if reuse and (done := finished(folder, about)):
        return done, task, training_set, log
    work = Work(config, settings, task, log, chosen, named, folder, pretrained)
    with only_writer(folder) if first_process() else nullcontext():
        keep_record(config.out, folder, log, task.log or task.default_log, about)
        begin_or_continue(folder, about)
        if warm is not None:
            searched = continued(work, warm, training_set)
            finish(folder, searched.model, searched.champion, training_set, about, searched)
            return searched.model, task, training_set, log
        earlier = chosen.task.training_set(log, bar) if refit else training_set
        step("training without the validation windows" if chosen.cutoffs else "training")
        searched = search(work, earlier)
        model, champion = refitted(work, searched, training_set) if refit else (searched.model, searched.champion)
        finish(folder, model, champion, training_set, about, searched)
    return model, task, training_set, log


def shown_parts(items: Iterable[Any], label: str) -> Iterable[Any]:
    """The items with a bar on a terminal, else with lines of the running command."""
    return progress_track(items, label) if as_json() or not sys.stderr.isatty() else track(items, label)


class Work(NamedTuple):
    """What all stages of a run share."""

    config: TrainConfig
    settings: TrainingConfig
    task: Task
    log: EventLog
    windows: Windows
    candidates: dict[str, Candidate]  # by name, without the network
    folder: Path
    pretrained: Pretrained | None = None

    def network(self, training_set: TrainingSet, data: PropensityDataModule) -> OfferNet:
        """The untrained network that follows from the seed and the pretrained encoder."""
        pl.seed_everything(self.config.seed, verbose=False)
        model = untrained(self.config, self.task, training_set, data)
        if self.pretrained is not None:
            start_from_pretrained(model, self.pretrained, training_set.vocabulary, self.config.frozen)
        return model


def untrained(config: TrainConfig, task: Task, training_set: TrainingSet, data: PropensityDataModule) -> OfferNet:
    """A network that starts from the base rates of a training set, with scalers fitted to its inputs."""
    model: OfferNet = instantiate(config.model, sizes=task.feature.sizes(training_set.vocabulary))
    model.fit_scales(data.sample())
    model.start_from(data.base_rates, torch.from_numpy(training_set.features.offer_code))
    return model


class Searched(NamedTuple):
    """A network and candidates fitted on the windows before those of the validation, and how the fit ended."""

    model: OfferNet
    champion: Champion
    length: Length
    fitted: Fitted
    warnings: list[str]
    warm: Warm | None = None  # the run that this one continues


def search(work: Work, training_set: TrainingSet) -> Searched:
    """Fits network and candidates on the windows before those of the validation, and compares them on these."""
    config, settings, chosen = work.config, work.settings, work.windows
    customers = settings.validation_customers(len(training_set.features.offers))
    validation = validation_set(chosen, work.log, training_set.vocabulary, customers, config.seed)
    data = settings.data_module(training_set, work.task, config.seed, validation)
    model, length = work.network(training_set, data), data.length
    stage = Stage("search", resume=last_checkpoint(work.folder, "search"))
    loss = instantiate(config.loss)
    fitted = fit(model, loss, data, config, work.folder, stage)
    calibrate(model, data)
    if data.validation is not None:  # again, because calibration moves the totals
        purchase_days = work.task.feature.pair.index("purchase_days")
        held_out = data.validation.held_out(settings.held_out)
        metrics = validated(
            model, loss, data.validation.placed(), purchase_days, validation_metrics(config.metrics), held_out
        )
        fitted = fitted._replace(metrics=fitted.metrics | metrics)
    warnings = [*chosen.warnings, *evaluation_warnings(work.log, chosen.end, work.task.horizon)]
    if open_ended(config.trainer):
        warnings += length_warnings(length, fitted.step, fitted.ended, validation is not None)
    step("fitting the other candidates")
    champion = fit_champion(model, work.candidates, training_set, validation, config.champion, config.seed)
    if missing := [name for name in work.candidates if name not in champion.candidates]:
        warnings.append(
            f"nobody, or everybody, bought in the training windows: {', '.join(missing)} cannot be fitted; raise "
            "data.horizon or lower data.offer.min_buyers"
        )
    return Searched(model, champion, length, fitted, warnings)


def refitted(work: Work, searched: Searched, training_set: TrainingSet) -> tuple[OfferNet, Champion]:
    """Network and candidates fitted on all windows, with as many passes and the settings that the search found."""
    data = work.settings.data_module(training_set, work.task, work.config.seed)
    length = data.length
    step("training on all label windows")
    steps = max(round(searched.fitted.step * length.pass_steps / searched.length.pass_steps), 1)
    model = work.network(training_set, data)
    stage = Stage("refit", last_checkpoint(work.folder, "refit"), steps, loggers=False)
    fit(model, instantiate(work.config.loss), data, work.config, work.folder, stage)
    calibrate(model, data)
    return model, searched.champion.refit(training_set, model, work.config.seed)


def continued(work: Work, warm: Warm, training_set: TrainingSet) -> Searched:
    """The network of an earlier run, trained on for some steps on the last windows.

    Its candidates stay as they are. Their weights follow from the windows that closed since, before which the network
    is trained on them as well.
    """
    config, chosen = work.config, work.windows
    data = work.settings.data_module(training_set, work.task, config.seed)
    step("comparing the candidates of the earlier run on the windows that have closed since")
    customers = work.settings.validation_customers(len(training_set.features.offers))
    unseen = chosen._replace(cutoffs=warm.unseen(chosen.cutoffs))
    validation = validation_set(unseen, work.log, training_set.vocabulary, customers, config.seed)
    champion = warm.champion
    if validation is not None and champion.candidates:
        unit = float(training_set.vocabulary.unit)
        champion = judged(warm.model, champion.candidates, validation, unit, config.champion, config.seed)
    step("training from the weights of the earlier run")
    steps = warm.steps(data.length.pass_steps)
    pl.seed_everything(config.seed, verbose=False)
    model = warm.model.train()
    model.amount_scale.fill_(1.0)
    stage = Stage("warm", last_checkpoint(work.folder, "warm"), steps)
    slower = replace(config, optimizer=warm.optimizer(config.optimizer))
    fitted = fit(model, instantiate(config.loss), data, slower, work.folder, stage)
    calibrate(model, data)
    return Searched(model, champion._replace(network=model), data.length, fitted, [*chosen.warnings], warm)


def candidates(config: TrainConfig) -> dict[str, Candidate]:
    """The candidates beside the network: those of `config.baselines` that a run can serve; none for a pure network."""
    if config.champion == NETWORK:
        return {}
    chosen = chosen_names(config.baseline, config.baselines)
    built = {name: instantiate(config.baseline[name], _convert_="all") for name in chosen if name in KINDS}
    if find_spec("lightgbm") is None and built.pop("lightgbm", None) is not None:
        LOGGER.warning("LightGBM is no candidate because it is not installed; pip install 'propensity[gbdt]'")
    return built


def describe(config: Any, log: EventLog, chosen: Windows, training_set: TrainingSet, refit: bool) -> dict[str, Any]:
    """The record of a training: configuration, data, cutoffs, code and library versions, in plain containers.

    `end` is the first day after the last training label, `last_label` after the last one of validation as well.
    """
    dates = [str(cutoff_data.market_stats.cutoff) for cutoff_data in training_set.cutoffs_data]
    return {
        "config": config,
        "seed": config["seed"],
        "data": log.fingerprint,
        "end": to_date(chosen.end if refit else chosen.task.end_day(log)).isoformat(),
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


def begin_or_continue(folder: Path, about: dict[str, Any]) -> None:
    """Keeps the state to resume from, if `folder` holds an interrupted run with the same record; else starts anew."""
    if interrupted_record(folder / PROGRESS / RECORD) != json.dumps(about):
        begin(folder / PROGRESS, json.dumps(about))


def interrupted_record(path: Path) -> str | None:
    """The record of an interrupted run; None without one, or if it is damaged."""
    try:
        return json.dumps(json.loads(path.read_text()))
    except (OSError, ValueError, RecursionError):
        return None


def last_checkpoint(folder: Path, stage: str) -> str | None:
    """The checkpoint that an interrupted stage resumes from; None: a new start, also where one is damaged."""
    last = folder / PROGRESS / stage / "last.ckpt"
    if not last.is_file():
        return None
    try:
        for path in sorted(last.parent.glob("*.ckpt")):
            check_checkpoint(path, "it is passed over, and this part of the training starts again")
    except DamageError as error:
        LOGGER.warning("%s", error)
        remove(last.parent)
        return None
    return str(last)


@rank_zero_only
def remove(folder: Path) -> None:
    """Remove the state of a stage that cannot be resumed."""
    shutil.rmtree(folder, ignore_errors=True)


@rank_zero_only
def keep_record(out: str, folder: Path, log: EventLog, place: str, about: dict[str, Any]) -> None:
    record(Path(out).parent, folder, log, place, about)


@rank_zero_only
def begin(progress: Path, note: str) -> None:
    unseal_folder(progress.parent)
    for former in (progress, progress.with_name(CHECKPOINTS)):
        shutil.rmtree(former, ignore_errors=True)
    (progress.parent / METRICS).unlink(missing_ok=True)
    progress.mkdir(parents=True)
    with whole_file(progress / RECORD) as draft:
        draft.write_text(note)


@rank_zero_only
def finish(
    folder: Path,
    model: OfferNet,
    champion: Champion,
    training_set: TrainingSet,
    about: dict[str, Any],
    searched: Searched,
) -> None:
    """Writes the checkpoint, the champion, the configuration and the summary; removes the state to resume from."""
    if not all(torch.isfinite(p).all() for p in model.parameters()):
        raise GateError("training left weights that are not finite; lower optimizer.lr")
    unseal_folder(folder)
    for name in EVALUATION:  # of the network that is replaced
        (folder / name).unlink(missing_ok=True)
    for former in (folder / CHAMPION, folder / CANDIDATES):  # a checkpoint without its champion is a pure network
        shutil.rmtree(former, ignore_errors=True) if former.is_dir() else former.unlink(missing_ok=True)
    save_trained(folder, model, training_set.vocabulary, about)
    if champion.candidates:
        champion.save(folder)
    with whole_file(folder / "config.yaml") as draft:
        draft.write_text(OmegaConf.to_yaml(about["config"]))
    with whole_file(folder / SUMMARY) as draft:
        draft.write_text(json.dumps(summary(searched), indent=1))
    shutil.rmtree(folder / PROGRESS, ignore_errors=True)
    seal_folder(folder)


def summary(searched: Searched) -> dict[str, Any]:
    """How the training ended: the content of training.json."""
    fitted, length = searched.fitted, searched.length
    passes = length.passes(fitted.step)
    served = searched.champion.choice
    choice = (
        f"{fitted.step} steps of {length.pairs_per_batch:,} pairs, {passes:.1f} passes over the training cutoffs; "
        f"{served_in_text(served.champion, served.why)}"
    )
    warm = searched.warm
    continues = {} if warm is None else {"passes": warm.passes, "generation": warm.generation}
    record = fitted._asdict() | {"length": length._asdict(), "choice": choice, "warnings": searched.warnings}
    return record | continues
