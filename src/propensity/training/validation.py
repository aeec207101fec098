"""Validation: label windows that training does not see, and their metrics after an epoch, exact over all customers.

Legend: N customers of a cutoff, M offers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from propensity.data.batch import Batch, Outcomes
from propensity.data.cutoff import Cutoff, parse_cutoff, require_labels
from propensity.data.event_log import EventLog, to_date
from propensity.data.vocabulary import Vocabulary
from propensity.errors import ConfigurationError
from propensity.feature.features import Features
from propensity.kernel.event import PURCHASE
from propensity.metric.declaration import Metric
from propensity.metric.labels import Prediction, unnamed_labels
from propensity.metric.metric_table import mean_values
from propensity.model.offer_net import OfferNet
from propensity.model.outputs import Outputs, ensemble_mean
from propensity.task import Task, Validation
from propensity.training.metric import ALL, HELD_OUT, NEVER_BOUGHT, VAL_LOSS

ENOUGH, MOST = 1_000, 4  # purchase lines that a validation should hold, and windows at most that it takes for them
AUTO = "auto"


class Windows(NamedTuple):
    """A task whose training labels close by the first validation cutoff, and those cutoffs, ascending."""

    task: Task
    cutoffs: list[Cutoff]
    end: int  # first day after the last label of all
    warnings: tuple[str, ...] = ()


class Block(NamedTuple):
    """What the network says of some customers of a cutoff, and what they did."""

    members: list[Outputs]
    outcomes: Outcomes
    never_bought: torch.Tensor  # (N, M) bool
    held_out: torch.Tensor  # (N,) bool, customers whom the network is not trained on


def windows(task: Task, log: EventLog, validation: int | str | Sequence[str] | None) -> Windows:
    """Divides the label windows into those of training and those of validation.

    Parameters
    ----------
    task : whose `end` is the day by which all labels close.
    validation : number of last label windows, one horizon apart; or ISO dates of cutoffs; `auto`: as many as
        `enough_windows` says; None or empty: none. A number is lowered, with a warning, until a training cutoff is left
        before them.

    Raises
    ------
    ConfigurationError
        For a number below 1, or a label window that is not complete by the end.
    """
    end = task.end_day(log)
    if validation == AUTO:
        return last_windows(task, log, end, min(enough_windows(log, end, task.horizon), max(room(task, log) // 4, 1)))
    if isinstance(validation, bool) or not isinstance(validation, int | list | tuple | None):
        raise ConfigurationError(
            f"training.validation={validation} is neither a number nor a list; give auto, 1 or [date]"
        )
    if validation is None or validation == [] or validation == ():
        return Windows(task, [], end)
    if isinstance(validation, int):
        if validation < 1:
            raise ConfigurationError(
                f"training.validation={validation} is no number of windows; give 1 or more, or null"
            )
        return last_windows(task, log, end, validation)
    cutoffs = [
        require_labels(log, parse_cutoff(log, str(day), task.horizon)) for day in sorted(set(validation), key=str)
    ]
    if late := [cutoff for cutoff in cutoffs if cutoff.end > end]:
        last = to_date(end - task.horizon)
        raise ConfigurationError(
            f"the label window of validation cutoff {late[0]} reaches past {to_date(end)}; give {last} or earlier"
        )
    return Windows(replace(task, end=str(cutoffs[0])), cutoffs, end)


def enough_windows(log: EventLog, end: int, horizon: int) -> int:
    """How many last label windows hold enough purchases to choose by: 1 to 4."""
    day = log.day[log.kind == PURCHASE]
    held = [int(((day >= end - horizon * count) & (day < end)).sum()) for count in range(1, MOST + 1)]
    return next((count for count, lines in enumerate(held, 1) if lines >= ENOUGH), MOST)


def room(task: Task, log: EventLog) -> int:
    """How many label windows lie between the earliest training label and the end of the labels."""
    end = task.end_day(log)
    first_label = log.first_day + task.cutoff.history(log, end) + task.horizon
    return max((end - first_label) // task.horizon, 0)


def last_windows(task: Task, log: EventLog, end: int, count: int) -> Windows:
    """The last label windows, one horizon apart, as many as leave a training cutoff before them."""
    chosen = min(count, room(task, log))
    warnings: tuple[str, ...] = ()
    if chosen < count:
        warnings = (f"the log is short: {chosen} of {count} label windows are left to validate on",)
    cutoffs = [Cutoff(end - task.horizon * (back + 1), task.horizon) for back in reversed(range(chosen))]
    return Windows(replace(task, end=str(cutoffs[0])) if cutoffs else task, cutoffs, end, warnings)


def validation_set(
    chosen: Windows, log: EventLog, vocabulary: Vocabulary, customers: int | None, seed: int
) -> Validation | None:
    """The validation cutoffs with their customers, or a sample of them that follows from the seed; None without any."""
    if not chosen.cutoffs:
        return None
    cutoffs_data, complete = [], []
    for cutoff in chosen.cutoffs:
        each = chosen.task.cutoff_data(log, cutoff, vocabulary)
        each = each._replace(row=chosen.task.training_rows(each.features.log, cutoff.day))
        if customers is not None and each.row.size > customers:
            rng = np.random.default_rng((seed, cutoff.day))
            rows = each.row[np.argsort(each.features.log.id_hash()[each.row])]  # whatever the type of ids
            each = each._replace(row=np.sort(rng.choice(rows, customers, replace=False)))
        cutoffs_data.append(each)
        complete.append(Features(log, each.features.offers, vocabulary, each.features.config))
    return Validation(cutoffs_data, complete)


class ValidationMetrics(Callback):
    """Logs the loss and the declared metrics after each validation, over all its customers at once.

    Values are those of an evaluation: means over the cutoffs, for all pairs and for never-bought ones. A metric that is
    undefined, for want of buyers, is left out. Every process of a distributed run validates all customers, so that all
    decide alike.

    Parameters
    ----------
    places : of the batches of the validation loop, the place of the cutoff that each belongs to.
    purchase_days : place of the pair column that is 0 for a never-bought pair.
    metrics : declarations of the metrics to compute.
    monitored : names of metrics that other callbacks need.
    held_out : of the same batches, (B,) bool, the customers whom the network is not trained on; empty: none.
    """

    def __init__(
        self,
        places: Sequence[int],
        purchase_days: int,
        metrics: Sequence[Metric],
        monitored: Sequence[str] = (),
        held_out: Sequence[np.ndarray] = (),
    ) -> None:
        self.held_out = held_out
        self.places, self.purchase_days, self.metrics, self.monitored = places, purchase_days, metrics, monitored
        self.blocks: dict[int, list[Block]] = {}
        self.history: list[dict[str, float]] = []  # one entry per validation, with `step` and `epoch`

    def behind(self, step: int) -> bool:
        """Whether the weights after so many optimizer steps were not validated yet."""
        return not self.history or self.history[-1]["step"] < step

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.blocks = {}

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.blocks.setdefault(self.places[batch_idx], []).append(
            block_of(outputs, batch, self.purchase_days, self.held_out[batch_idx] if self.held_out else None)
        )

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        cutoffs = [joined(self.blocks[place]) for place in sorted(self.blocks)]
        self.blocks = {}
        if trainer.sanity_checking or not cutoffs:
            return
        values = {VAL_LOSS: mean_loss(pl_module.loss, cutoffs)} | values_of(cutoffs, self.metrics)
        if missing := [name for name in self.monitored if name.startswith("val/") and name not in values]:
            raise ConfigurationError(
                f"{missing[0]} is undefined, for want of buyers; give more training.validation_pairs, a longer "
                "data.horizon, or monitor another metric"
            )
        pl_module.log_dict(values, sync_dist=trainer.world_size > 1)
        at = {"epoch": float(trainer.current_epoch), "step": float(trainer.global_step)}
        self.history.append(at | values)

    def state_dict(self) -> dict[str, Any]:
        return {"history": [dict(each) for each in self.history]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = [dict(each) for each in state_dict["history"]]


@torch.no_grad()
def validated(
    model: OfferNet,
    loss: Any,
    batches: Iterable[tuple[int, Batch]],
    purchase_days: int,
    metrics: Sequence[Metric],
    held_out: Sequence[np.ndarray] = (),
) -> dict[str, float]:
    """Loss and metrics of a network outside a training, by their logged names.

    Parameters
    ----------
    model : the network.
    loss : from outputs, outcomes and weights to `Terms`.
    batches : the place of its cutoff and the batch.
    purchase_days, metrics, held_out : as in `ValidationMetrics`.
    """
    model.eval()
    blocks: dict[int, list[Block]] = {}
    for k, (place, batch) in enumerate(batches):
        flags = held_out[k] if held_out else None
        blocks.setdefault(place, []).append(block_of(model.member_outputs(batch.inputs), batch, purchase_days, flags))
    cutoffs = [joined(blocks[place]) for place in sorted(blocks)]
    return {VAL_LOSS: mean_loss(loss, cutoffs)} | values_of(cutoffs, metrics)


def block_of(outputs: Sequence[Outputs], batch: Batch, purchase_days: int, held_out: np.ndarray | None = None) -> Block:
    """Outputs of the members and outcomes of a batch, on the CPU."""
    never_bought = batch.inputs.pair[..., purchase_days] == 0
    outcomes = Outcomes(*(each.float().cpu() for each in batch.outcomes))
    flags = np.zeros(len(never_bought), bool) if held_out is None else held_out
    return Block([on_cpu(each) for each in outputs], outcomes, never_bought.cpu(), torch.from_numpy(flags))


def on_cpu(outputs: Outputs) -> Outputs:
    """The outputs as float32 on the CPU, without the states."""
    moved = Outputs(*(each.detach().float().cpu() for each in outputs))
    return moved._replace(state=moved.state[:, :0])


def joined(blocks: Sequence[Block]) -> Block:
    """Blocks of customers as one."""
    by_member = zip(*(block.members for block in blocks), strict=True)
    members = []
    for each in by_member:
        *parts, unit = (list(column) for column in zip(*each, strict=True))
        members.append(Outputs(*(torch.cat(part) for part in parts))._replace(unit=unit[0]))
    outcomes = Outcomes(*(torch.cat(parts) for parts in zip(*(block.outcomes for block in blocks), strict=True)))
    flags = (torch.cat([getattr(block, name) for block in blocks]) for name in ("never_bought", "held_out"))
    return Block(members, outcomes, *flags)


def mean_loss(loss: Any, cutoffs: Sequence[Block]) -> float:
    """The training loss of each member at each cutoff, with weights of one: their mean."""
    weights = [torch.ones(block.outcomes.bought.shape[1]) for block in cutoffs]
    totals = [
        float(loss(member, block.outcomes, weight).total)
        for block, weight in zip(cutoffs, weights, strict=True)
        for member in block.members
    ]
    return float(np.mean(totals))


def values_of(cutoffs: Sequence[Block], metrics: Sequence[Metric]) -> dict[str, float]:
    """The metrics by their logged names: means over the cutoffs, undefined ones left out."""
    windows = []
    for block in cutoffs:
        outputs = ensemble_mean(block.members)
        bought = block.outcomes.bought.numpy() > 0
        masks = {"all": np.ones(bought.shape, bool), "never_bought": block.never_bought.numpy()}
        if any(each.held_out.any() for each in cutoffs):
            masks["held_out"] = np.repeat(block.held_out.numpy()[:, None], bought.shape[1], axis=1)
        labels = unnamed_labels(bought, block.outcomes.revenue.numpy(), masks)
        windows.append((labels, Prediction(outputs.probability().numpy(), outputs.expected_revenue().numpy())))
    means = mean_values(windows, metrics)
    return {
        f"{prefix}/{name}": value
        for slice_, prefix in (("all", ALL), ("never_bought", NEVER_BOUGHT), ("held_out", HELD_OUT))
        if slice_ in means
        for name, value in means[slice_].items()
    }
