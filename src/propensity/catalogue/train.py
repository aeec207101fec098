"""Training on a table of requests: each customer at a cutoff of his own."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import OmegaConf

from propensity.atomic import only_writer, whole_file
from propensity.catalogue.column import COLUMNS, TIMED_COLUMNS
from propensity.catalogue.model import (
    FILE,
    FOLDER,
    LIGHTGBM,
    CatalogueModel,
    LogLoss,
    catalogue_offers,
    learner_class,
    level_of,
    log_loss,
)
from propensity.catalogue.pairs import Catalogue
from propensity.catalogue.requests import Requests, read_requests, resolve
from propensity.catalogue.sample import Sample, training_sample
from propensity.champion.champion import AUTO, NETWORK
from propensity.champion.choose import STACK
from propensity.checksum import seal_folder, unseal_folder
from propensity.config import TrainConfig
from propensity.data.event_log import EventLog, to_date
from propensity.errors import ConfigurationError, GateError
from propensity.secret import without_secrets
from propensity.task import Task, resolved
from propensity.training.audit import record
from propensity.training.checkpoint import FILE as CHECKPOINT
from propensity.training.curve import SUMMARY
from propensity.training.run import EVALUATION, commit, libraries

FEW = 10  # purchases without which no learner can be compared


def train_on_requests(config: TrainConfig, say: Callable[[str], None] = lambda text: None) -> CatalogueModel:
    """Fit the learners of a catalogue to the requests of `data.requests` and write a run.

    The last requests compare the learners; then all of them are fitted again to all requests.

    Parameters
    ----------
    config : TrainConfig
        Of the training; `data.requests` names the table, `data.horizon` the days in which a purchase counts.
    say : callable
        Receives warnings.

    Returns
    -------
    CatalogueModel
        The model that was written to `config.out`.

    Raises
    ------
    ConfigurationError
        If a label window is not complete, or `champion` is none of `auto`, `network`, `lightgbm`, `stack`.
    DataError
        If the table of requests cannot be used.
    """
    started, warnings = time.perf_counter(), list[str]()
    names = learners_of(config)
    task: Task = instantiate(config.data, _convert_="all")
    assert task.requests is not None
    table = read_requests(task.requests)
    log = task.open()
    config = replace(config, data=resolved(config.data, task, log))
    task = instantiate(config.data, _convert_="all")
    offers = catalogue_offers(log, task)
    requests = resolve(table, log, offers.name, str(task.requests), warnings.append)
    require_closed(requests, log, min(task.end_day(log), log.last_day + 1), task.horizon, "training requests")
    catalogue = Catalogue.of(log, offers, task.catalogue, None if requests.clock is None else True)
    sample = training_sample(catalogue, requests._replace(named=None), task.horizon, config.seed)
    if not sample.bought.any() or sample.bought.all():
        raise ConfigurationError(
            f"{'nobody' if not sample.bought.any() else 'everybody'} bought within {task.horizon} days of the requests "
            f"of {task.requests}; give other requests or another data.horizon"
        )
    later = sample.day >= validation_day(sample, task.catalogue.validation)
    model, why, losses = chosen(config, names, task, sample, later)
    about = describe(config, log, task, requests, len(offers))
    folder = Path(config.out)
    with only_writer(folder):
        folder.mkdir(parents=True, exist_ok=True)
        record(folder.parent, folder, log, task.log or task.default_log, about)
        write(folder, model, about, summary(model, why, losses, warnings, sample, time.perf_counter() - started))
    for warning in warnings:
        say(warning)
    return model


def learners_of(config: TrainConfig) -> list[str]:
    """Names of the learners to fit.

    Raises
    ------
    ConfigurationError
        For a champion that is none of them.
    """
    if config.champion not in (AUTO, NETWORK, LIGHTGBM, STACK):
        raise ConfigurationError(
            f"champion={config.champion} is no learner of requests; choose auto, network, lightgbm or stack"
        )
    with_trees = config.baselines is None or LIGHTGBM in config.baselines
    if config.champion in (STACK, LIGHTGBM) or (config.champion == AUTO and with_trees):
        return [LIGHTGBM] if config.champion == LIGHTGBM else [NETWORK, LIGHTGBM]
    return [NETWORK]


def require_closed(requests: Requests, log: EventLog, end: int, horizon: int, what: str) -> None:
    """Refuse requests whose label window reaches past `end`, days since 1970-01-01, such as the end of the log."""
    unfinished = 0 if requests.clock is None else (requests.clock > 0).astype(np.int64)  # ends within the next day
    late = np.flatnonzero(requests.day + unfinished + horizon > end)
    if late.size:
        customer, day = log.customer_id[requests.customer[late[0]]], int(requests.day[late[0]])
        raise ConfigurationError(
            f"{late.size} of {requests.number} {what} have no complete label, such as customer {customer} "
            f"at {to_date(day)}: labels of {horizon} days must close by {to_date(end)}; leave out requests after "
            f"{to_date(end - horizon)}"
        )


def validation_day(sample: Sample, share: float) -> int:
    """The first day of the last `share` of the pairs."""
    return int(np.quantile(sample.day, 1 - share, method="higher"))


def chosen(
    config: TrainConfig, names: list[str], task: Task, sample: Sample, later: np.ndarray
) -> tuple[CatalogueModel, str, dict[str, LogLoss]]:
    """Fit the learners before the validation, compare them, and fit them again to all pairs."""
    train, held_out = sample.take(~later), sample.take(later)
    comparable = min(int(train.bought.sum()), int(held_out.bought.sum())) >= FEW
    single = replace(task, catalogue=replace(task.catalogue, members=1))
    lengths, losses = {}, dict[str, LogLoss]()
    if comparable:
        logits = {}
        for name in names:
            learner = fitted(name, train, single, config.seed, None, held_out)
            lengths[name], logits[name] = getattr(learner, "length", None), learner.logit(held_out.x)
        if len(names) > 1:
            logits[STACK] = np.mean(list(logits.values()), axis=0)
        losses = {name: log_loss(logit, held_out) for name, logit in logits.items()}
    learners = {name: fitted(name, sample, task, config.seed, lengths.get(name), None) for name in names}
    usual = float((sample.usual * sample.weight)[sample.bought].sum())
    factor = float((sample.revenue * sample.weight)[sample.bought].sum()) / usual if usual > 0 else 0.0
    if config.champion != AUTO:
        served, why = config.champion, "it was named"
    elif losses:
        served = min(losses, key=lambda name: losses[name].log_loss)
        why = f"its log loss of the last requests is the lowest of {', '.join(losses)}"
    else:
        served, why = names[0], "the last requests hold too few purchases to compare"
    used = learners if served == STACK else {served: learners[served]}
    columns = COLUMNS if sample.x.shape[1] == len(COLUMNS) else TIMED_COLUMNS
    model = CatalogueModel(used, served, max(factor, 0.0), columns)
    return replace(model, level=level_of(model.learner_logit(sample.x), sample)), why, losses


def fitted(name: str, sample: Sample, task: Task, seed: int, length: int | None, later: Sample | None) -> Any:
    """A learner of `sample`; trees end by `later` or at `length`."""
    extra = {"length": length, "later": later} if name == LIGHTGBM else {}
    learner = learner_class(name).fit(sample, task.catalogue, seed, **extra)
    if not np.isfinite(learner.logit(sample.x[:1000])).all():
        raise GateError(f"the {name} has weights that are not finite; lower data.catalogue.lr")
    return learner


def describe(config: TrainConfig, log: EventLog, task: Task, requests: Requests, offers: int) -> dict[str, Any]:
    """The record of a training on requests, in plain containers."""
    first, last = (to_date(int(day)).isoformat() for day in (requests.day.min(), requests.day.max()))
    return {
        "config": without_secrets(asdict(config)),
        "seed": config.seed,
        "data": log.fingerprint,
        "end": to_date(int(requests.day.max()) + task.horizon).isoformat(),
        "last_label": to_date(int(requests.day.max()) + task.horizon).isoformat(),
        "cutoffs": [first, last],
        "examples": requests.number,
        "offers": offers,
        "commit": commit(),
        "libraries": libraries(),
    }


def summary(
    model: CatalogueModel, why: str, losses: dict[str, LogLoss], warnings: list[str], sample: Sample, seconds: float
) -> dict[str, Any]:
    """How the training ended: the content of training.json."""
    served = losses.get(model.served)
    metrics = {} if served is None else {f"val/{name}": value for name, value in served._asdict().items()}
    choice = (
        f"{sample.bought.size:,} pairs of {len(model.columns)} columns, {int(sample.bought.sum()):,} of them "
        f"purchases, in {seconds:.0f} s; served model: {model.served}, because {why}"
    )
    learners = {name: loss._asdict() for name, loss in losses.items()}
    return {"choice": choice, "warnings": warnings, "metrics": metrics, "learners": learners, "seconds": seconds}


def write(folder: Path, model: CatalogueModel, about: dict[str, Any], content: dict[str, Any]) -> None:
    """Replace a run in a folder by this one."""
    unseal_folder(folder)
    for name in (*EVALUATION, CHECKPOINT, FILE, "champion.json"):
        (folder / name).unlink(missing_ok=True)
    for name in (FOLDER, "candidates"):
        shutil.rmtree(folder / name, ignore_errors=True)
    model.save(folder, about)
    with whole_file(folder / "config.yaml") as draft:
        draft.write_text(OmegaConf.to_yaml(about["config"]))
    with whole_file(folder / SUMMARY) as draft:
        draft.write_text(json.dumps(content, indent=1))
    seal_folder(folder)
