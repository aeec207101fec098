"""The Lightning module: a network, a loss, an optimizer and a scheduler. It knows no data set, metric or decision."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from propensity.data.batch import Batch
from propensity.errors import ConfigurationError, GateError
from propensity.loss.multitask import Terms
from propensity.model.offer_net import OfferNet
from propensity.training.shared_batch import SharedBatch

Loss = Callable[..., Any]
MakeOptimizer = Callable[[Iterable[Any]], Optimizer]
MakeScheduler = functools.partial  # of a torch scheduler that still wants its optimizer
STEPS = ("total_steps", "T_max", "num_training_steps")  # what schedulers call the number of steps of a training
WATCH = 10  # batches between two checks of the loss on a GPU; a NaN persists


class PropensityModule(pl.LightningModule):
    """Fits a network to a loss.

    Parameters
    ----------
    model : the network; its members learn side by side.
    loss : from outputs, outcomes and weights to `Terms`.
    optimizer : a torch optimizer that still wants its parameters.
    scheduler : a torch learning rate scheduler that still wants its optimizer, stepped after every optimizer step; its
        number of steps and highest learning rates are filled in. None: a constant learning rate.
    seed : of dropout and of whatever else is random in a training step.
    steps : optimizer steps at which training ends at the latest; None: the trainer's settings say it.
    """

    def __init__(
        self,
        model: OfferNet,
        loss: Loss,
        optimizer: MakeOptimizer,
        scheduler: MakeScheduler[Any] | None = None,
        seed: int = 17,
        steps: int | None = None,
    ) -> None:
        super().__init__()
        self.steps = math.inf if steps is None else steps
        self.model, self.loss, self.optimizer, self.scheduler, self.seed = model, loss, optimizer, scheduler, seed

    def training_step(self, batch: Batch | SharedBatch, batch_idx: int) -> Tensor:
        if batch_idx == 0:  # dropout of an epoch follows from seed and epoch, so that a resumed run repeats it
            torch.manual_seed(self.seed + 1_000_003 * self.current_epoch + 7919 * self.global_rank)
        if isinstance(batch, SharedBatch):
            terms = shared_terms(self.model, self.loss, batch)
            size = sum(customers_of(each) for each in batch.batches)
        else:
            terms, size = mean_terms(self.model, self.loss, batch), customers_of(batch)
        watched = not terms.total.is_cuda or batch_idx % WATCH == 0  # reading a value synchronises the GPU
        if watched and not torch.isfinite(terms.total):
            raise GateError(
                f"the loss is {terms.total.item()} by batch {batch_idx} of epoch {self.current_epoch}; "
                "lower optimizer.lr or look at that batch's amounts"
            )
        shared = self.trainer.world_size > 1
        self.log(
            "train/loss", terms.total, batch_size=size, on_step=True, on_epoch=True, prog_bar=True, sync_dist=shared
        )
        self.log_dict({f"train/{name}": part for name, part in terms.parts.items()}, batch_size=size)
        return terms.total

    def validation_step(self, batch: Batch, batch_idx: int) -> Any:
        """Outputs of each member for all pairs of the batch."""
        return self.model.member_outputs(batch.inputs)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips the gradient of the value heads and that of the other parameters each by its own norm or value."""
        for part in separate(self.model):
            if gradient_clip_val and gradient_clip_algorithm == "value":
                nn.utils.clip_grad_value_(part, gradient_clip_val)
            elif gradient_clip_val:
                nn.utils.clip_grad_norm_(part, gradient_clip_val)

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(parameter_groups(self.model))
        if self.scheduler is None:
            return optimizer
        scheduler = complete(self.scheduler, optimizer, min(self.steps, self.trainer.estimated_stepping_batches))
        if isinstance(scheduler, ReduceLROnPlateau):
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val/loss"}}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def complete(scheduler: MakeScheduler[Any], optimizer: Optimizer, steps: float) -> LRScheduler:
    """The scheduler of an optimizer, with the training's number of steps and each group's rate as its highest."""
    taken = [name for name in inspect.signature(scheduler.func).parameters if name not in scheduler.keywords]
    more: dict[str, Any] = {}
    for name in (name for name in STEPS if name in taken):
        if not math.isfinite(steps):
            raise ConfigurationError("scheduler needs a number of steps; give trainer.max_epochs or trainer.max_steps")
        more[name] = max(int(steps), 2)
    if "max_lr" in taken:
        more["max_lr"] = [group["lr"] for group in optimizer.param_groups]
    made: LRScheduler = scheduler(optimizer, **more)
    return made


def mean_terms(model: OfferNet, loss: Loss, batch: Batch, encoded: list[Tensor] | None = None) -> Terms:
    """The loss of a batch: the mean of the losses of the members; `encoded` as in `OfferNet.member_outputs`."""
    member_outputs = model.member_outputs(batch.inputs, batch.place, encoded)
    terms: list[Terms] = [loss(each, batch.outcomes, batch.weight) for each in member_outputs]
    parts = {name: torch.stack([each.parts[name] for each in terms]).mean() for name in terms[0].parts}
    return Terms(torch.stack([each.total for each in terms]).mean(), parts)


def shared_terms(model: OfferNet, loss: Loss, batch: SharedBatch) -> Terms:
    """The loss of customers at several cutoffs: the mean of the losses of the cutoffs, weighted by their customers."""
    encoded = model.encode_at(batch.history, batch.query, batch.hidden)
    total = sum(customers_of(each) for each in batch.batches)
    shares = [customers_of(each) / total for each in batch.batches]
    terms = [
        mean_terms(model, loss, each, [state_BQD[rows, place] for state_BQD in encoded])
        for place, (rows, each) in enumerate(zip(batch.rows, batch.batches, strict=True))
    ]

    def mean(values: list[Tensor]) -> Tensor:
        return torch.stack([share * value for share, value in zip(shares, values, strict=True)]).sum()

    parts = {name: mean([each.parts[name] for each in terms]) for name in terms[0].parts}
    return Terms(mean([each.total for each in terms]), parts)


def customers_of(batch: Batch) -> int:
    """Number of customers in a batch of one cutoff."""
    return batch.outcomes.visit.shape[0]


def separate(model: nn.Module) -> list[list[nn.Parameter]]:
    """Parameters of the value heads, and the others: two tasks that share no parameter."""
    named = list(model.named_parameters())
    value = [parameter for name, parameter in named if ".value." in name]
    return [part for part in (value, [p for name, p in named if ".value." not in name]) if part]


def parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Matrices with weight decay, vectors such as biases without."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
