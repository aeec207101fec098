"""One pretraining: from a configuration to a folder with the encoder and the embeddings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import polars
import torch
from hydra.utils import instantiate
from lightning.pytorch.utilities import move_data_to_device
from torch import Tensor

from propensity import audit
from propensity.atomic import whole_file
from propensity.config import PretrainConfig
from propensity.data.cutoff import Cutoff
from propensity.data.event_log import EventLog, to_date
from propensity.data.offer import offers_before
from propensity.data.table_file import write_table
from propensity.data.vocabulary import Vocabulary
from propensity.errors import ConfigurationError, GateError
from propensity.feature.features import Features
from propensity.model.inference import one_thread
from propensity.pretrain.batch import PretrainBatch, PretrainBatches, PretrainIndex, PretrainSampler, history_of
from propensity.pretrain.network import PretrainNet, Weights
from propensity.secret import without_secrets
from propensity.task import Task
from propensity.training.fit import build_trainer, quiet
from propensity.training.held_out import held_out_customers
from propensity.training.loader import BatchLoader, default_threads
from propensity.training.module import MakeOptimizer, MakeScheduler, complete, parameter_groups
from propensity.training.pretrained import Pretrained
from propensity.training.run import commit, libraries
from propensity.training.settings import check_optimizer
from propensity.training.track import first_process

SUMMARY = "pretraining.json"
CUSTOMERS, ITEMS, OFFERS = "customers.parquet", "items.parquet", "offers.parquet"
BLOCK = 1_024  # customers whose histories are in memory at a time


class PretrainModule(pl.LightningModule):
    """Fits a network to the weighted losses of its tasks."""

    def __init__(
        self,
        model: PretrainNet,
        weights: Weights,
        optimizer: MakeOptimizer,
        scheduler: MakeScheduler[Any] | None,
        seed: int,
        steps: int,
    ) -> None:
        super().__init__()
        self.model, self.weights, self.optimizer, self.scheduler = model, weights, optimizer, scheduler
        self.seed, self.steps = seed, steps

    def training_step(self, batch: PretrainBatch, batch_idx: int) -> Tensor:
        if batch_idx == 0:
            torch.manual_seed(self.seed + 1_000_003 * self.current_epoch + 7919 * self.global_rank)
        terms = self.model.losses(batch, self.weights)
        if not torch.isfinite(terms.total):
            raise GateError(f"the loss is {terms.total.item()} after {self.global_step} steps; lower optimizer.lr")
        return terms.total

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(parameter_groups(self.model))
        if self.scheduler is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": complete(self.scheduler, optimizer, self.steps), "interval": "step"},
        }


class Scene(NamedTuple):
    """What is read of the log: nothing of the day `end` or later."""

    features: Features
    end: Cutoff
    trained: np.ndarray  # rows of the customers whom the encoder is trained on
    held_out: np.ndarray  # and of the others


def pretrain(config: PretrainConfig) -> dict[str, Any]:
    """Trains an encoder on histories, and writes it with the embeddings of customers, items and offers.

    Parameters
    ----------
    config : PretrainConfig
        Of the command.

    Returns
    -------
    dict
        The content of pretraining.json: customers, steps, and the losses of held-out customers before and after.

    Raises
    ------
    ConfigurationError
        Without a causal encoder or a task, for fewer customers than a batch, for no offers, and for a GPU that is not
        there.
    GateError
        If the loss or the weights are not finite.
    """
    folder, weights = Path(config.out), weights_of(config)
    check(config, folder)
    task: Task = instantiate(config.data, _convert_="all")
    log = task.open()
    scene = scene_of(config, task, log)
    pl.seed_everything(config.seed, verbose=False)
    vocabulary, width = scene.features.vocabulary, int(config.model["width"])
    code = torch.from_numpy(scene.features.offer_code)
    model = PretrainNet(task.feature.sizes(vocabulary), width, instantiate(config.model["encoder"]), code)
    before = held_out_losses(model, scene, config, weights)
    fit(model, scene, config, weights)
    if not all(torch.isfinite(parameter).all() for parameter in model.parameters()):
        raise GateError("pretraining left weights that are not finite; lower optimizer.lr")
    summary = {
        "end": to_date(scene.end.day).isoformat(),
        "customers": int(scene.trained.size),
        "held_out": int(scene.held_out.size),
        "offers": len(scene.features.offers),
        "steps": config.steps,
        "weights": asdict(weights),
        "losses": {"before": before, "after": held_out_losses(model, scene, config, weights)},
    }
    if first_process():
        about = {"width": width, "encoder": config.model["encoder"], "end": summary["end"], "seed": config.seed}
        about |= {"config": without_secrets(asdict(config)), "data": log.fingerprint}
        about |= {"commit": commit(), "libraries": libraries()}
        save(folder, model, scene, about, summary)
        entry = {"model": str(folder), "log": str(log.folder), "fingerprint": log.fingerprint, "end": summary["end"]}
        audit.append(folder.resolve().parent, "pretrain", entry)
    return summary


def weights_of(config: PretrainConfig) -> Weights:
    """The weights of the tasks."""
    return Weights(config.next_period, config.next_visit, config.masked_basket, config.contrastive)


def check(config: PretrainConfig, folder: Path) -> None:
    """Refuses what cannot be pretrained before anything is read."""
    if config.model.get("encoder") is None:
        raise ConfigurationError(
            "model/encoder=none leaves nothing to pretrain; choose hstu, linear_recurrence or time_filters"
        )
    if config.trainer.get("accelerator") in ("gpu", "cuda") and not torch.cuda.is_available():
        raise ConfigurationError("pretraining wants a GPU and torch sees none; use trainer=cpu")
    if taken := next((place for place in (folder, *folder.parents) if place.is_file()), None):
        raise ConfigurationError(f"{taken} is a file; give another folder as out")
    check_optimizer(config.optimizer)


def scene_of(config: PretrainConfig, task: Task, log: EventLog) -> Scene:
    """Features before the end, and the customers with a purchase before it, in an order of their ids' hashes."""
    end = task.end_day(log)
    past = task.past(log, end)
    vocabulary = Vocabulary.fit(past, task.offer, end, task.feature.used_text)
    if not vocabulary.offers:
        raise ConfigurationError(
            f"no offer has {max(task.offer.min_buyers, 1)} buyers before {to_date(end)}; lower data.offer.min_buyers"
        )
    every = offers_before(past, task.offer, end)
    offers = every.take(np.flatnonzero(np.isin(every.name, vocabulary.offers)))
    rows = past.purchasers(end)
    rows = rows[np.argsort(past.id_hash()[rows])]
    held_out = held_out_customers(past, config.held_out)[rows]
    if (trained := rows[~held_out]).size < config.batch:
        raise ConfigurationError(
            f"{trained.size:,} customers with a purchase before {to_date(end)} are not held out, fewer than a batch of "
            f"{config.batch:,}; lower batch"
        )
    return Scene(Features(past, offers, vocabulary, task.feature), Cutoff(end, task.horizon), trained, rows[held_out])


def fit(model: PretrainNet, scene: Scene, config: PretrainConfig, weights: Weights) -> None:
    """Fits the network in place."""
    optimizer = instantiate(config.optimizer, _partial_=True, _convert_="all")
    scheduler = instantiate(config.scheduler, _partial_=True, _convert_="all") if config.scheduler else None
    if config.threads is not None and config.trainer.get("accelerator") == "cpu":
        torch.set_num_threads(config.threads)
    limits = {"max_steps": config.steps, "max_epochs": -1, "max_time": None, "enable_checkpointing": False}
    threads = default_threads() if config.prefetch_threads is None else config.prefetch_threads
    with quiet():
        trainer = build_trainer(config.trainer | limits, [], [], Path(config.out))
        sampler = PretrainSampler(scene.trained, config.batch, config.seed, trainer.global_rank, trainer.world_size)
        loader = BatchLoader(PretrainBatches(scene.features, scene.end, config.queries), sampler, threads)
        module = PretrainModule(model.train(), weights, optimizer, scheduler, config.seed, config.steps)
        trainer.fit(module, train_dataloaders=loader)
    model.eval()


@torch.no_grad()
def held_out_losses(model: PretrainNet, scene: Scene, config: PretrainConfig, weights: Weights) -> dict[str, float]:
    """The losses of the customers who are held out, of a batch of them at most; empty for fewer than two."""
    if scene.held_out.size < 2:
        return {}
    index = PretrainIndex(scene.held_out[: config.batch], config.seed)
    batch = PretrainBatches(scene.features, scene.end, config.queries)[index]
    with one_thread():
        terms = model.eval().losses(move_data_to_device(batch, next(model.parameters()).device), weights)
    return {name: float(part) for name, part in terms.parts.items()}


def save(folder: Path, model: PretrainNet, scene: Scene, about: dict[str, Any], summary: dict[str, Any]) -> None:
    """Writes the encoder, the tables of embeddings and the summary; each file appears whole."""
    folder.mkdir(parents=True, exist_ok=True)
    model = model.cpu().eval()
    features = scene.features
    kept = ("encoder.", "event_token.", "offer.")
    state = {name: value for name, value in model.state_dict().items() if name.startswith(kept)}
    Pretrained(state, features.vocabulary, about).save(folder)
    rows = np.sort(np.concatenate([scene.trained, scene.held_out]))
    ids = features.log.customers["customer"].gather(rows).alias("customer_id")
    with torch.no_grad(), one_thread():
        tables = {
            CUSTOMERS: (ids, torch.cat(list(states(model, scene, rows)))),
            ITEMS: (
                features.log.items["item"].alias("item_id"),
                model.items(torch.from_numpy(features.item_code[:-1])),
            ),
            OFFERS: (polars.Series("offer_id", features.offers.name), model.offer(model.code)),
        }
    for name, (key, rows_D) in tables.items():
        table = polars.DataFrame(rows_D.numpy(), schema=[f"embedding_{k}" for k in range(rows_D.shape[1])])
        with whole_file(folder / name) as draft:
            write_table(table.insert_column(0, key), draft, {"propensity.end": about["end"]})
    with whole_file(folder / SUMMARY) as draft:
        draft.write_text(json.dumps(summary, indent=1))


def states(model: PretrainNet, scene: Scene, rows: np.ndarray) -> Iterator[Tensor]:
    """The states of customers at the end, in blocks."""
    for start in range(0, rows.size, BLOCK):
        yield model.states(history_of(scene.features, scene.end, rows[start : start + BLOCK]))
