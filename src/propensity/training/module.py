"""The Lightning module: joins a network, a loss and an optimizer, and knows no data set, metric or decision."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from propensity.data.batch import Batch
from propensity.errors import GateError
from propensity.loss.multitask import Terms
from propensity.model.offer_net import OfferNet

Loss = Callable[..., Any]
MakeOptimizer = Callable[[Iterable[Any]], Optimizer]
WATCH = 10  # batches between two looks at the loss on a GPU; a NaN stays once it is there


class PropensityModule(pl.LightningModule):
    """Fits `model` to `loss`; the learning rate rises, then falls to zero over the run."""

    def __init__(self, model: OfferNet, loss: Loss, optimizer: MakeOptimizer, warmup: float = 0.1, seed: int = 17):
        super().__init__()
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.warmup, self.seed = warmup, seed

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if batch_idx == 0:  # chance starts anew with each epoch: a resumed run draws what a whole one would have
            torch.manual_seed(self.seed + 1_000_003 * self.current_epoch + 7919 * self.global_rank)
        terms = mean_terms(self.model, self.loss, batch)
        watched = not terms.total.is_cuda or batch_idx % WATCH == 0  # looking at a number makes the GPU wait
        if watched and not torch.isfinite(terms.total):
            raise GateError(
                f"the loss is {terms.total.item()} by batch {batch_idx} of epoch {self.current_epoch}; "
                "lower training.optimizer.lr or look at that batch's amounts"
            )
        size = batch.outcomes.visit.shape[0]
        self.log("train/loss", terms.total, batch_size=size, prog_bar=True)
        self.log_dict({f"train/{name}": part for name, part in terms.parts.items()}, batch_size=size)
        return terms.total

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(parameter_groups(self.model))
        steps = int(self.trainer.estimated_stepping_batches)
        rates = [group["lr"] for group in optimizer.param_groups]
        schedule = OneCycleLR(optimizer, rates, total_steps=max(steps, 2), pct_start=self.warmup, cycle_momentum=False)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def mean_terms(model: OfferNet, loss: Loss, batch: Batch) -> Terms:
    """The loss of a batch: the mean over members, each of which meets it by itself."""
    member_outputs = model.member_outputs(batch.inputs, batch.place)
    terms: list[Terms] = [loss(answer, batch.outcomes, batch.weight) for answer in member_outputs]
    parts = {name: torch.stack([each.parts[name] for each in terms]).mean() for name in terms[0].parts}
    return Terms(torch.stack([each.total for each in terms]).mean(), parts)


def parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Weights decay; biases and embeddings of names do not shrink toward a meaning that zero lacks."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
