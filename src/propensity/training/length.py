"""Length of a training: pairs of a batch, optimizer steps, and when validation ends it.

One rule holds for markets of all sizes; a run writes down what it gave.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

BATCHES = 1_024  # per pass, where a batch is neither at its smallest nor at its largest
SMALLEST, LARGEST = 4_096, 32_768  # pairs in a batch
CUSTOMERS = 1_024  # in a batch, at most: where offers are few, their histories take the time
PASSES = 4.0  # over the training cutoffs, at most
STEPS = 2_000  # at most, where so many are more than the passes
VALIDATIONS = 40  # over the longest training
FEWEST, MOST = 25, 250  # steps between two validations
BETTER = 3e-4  # share by which the monitored value must fall for training to go on
WITHOUT = 6  # validations without improvement before training ends, at least
GROWTH = 1.5  # and steps since the start over those of the last improvement, at least
GUESS, UNVALIDATED = 2.0, 600  # passes and steps, at least, where no validation says how many
NEGATIVES = 20.0  # never-bought negatives that are kept for each purchase, about
FEWEST_NEGATIVES = 0.05  # share of them that is kept at least
WARMUP = 60  # steps below which a training is called short


class Length(NamedTuple):
    """Sizes that follow from the number of pairs of the training cutoffs."""

    pairs: int  # in a pass over the training cutoffs
    pairs_per_batch: int  # before negatives are sampled
    pass_steps: int  # optimizer steps of a pass
    max_steps: int
    interval: int  # optimizer steps between two validations

    def passes(self, steps: int) -> float:
        """Passes over the training cutoffs that so many steps are."""
        return steps / max(self.pass_steps, 1)


def negative_rate_of(base_rate: float) -> float:
    """Sampling rate of never-bought negatives, by the share of all pairs with a purchase.

    More negatives for each purchase teach next to nothing, and take nearly all the time where offers are fine.

    >>> negative_rate_of(0.06), negative_rate_of(0.01), negative_rate_of(0.0001)
    (1.0, 0.2, 0.05)
    """
    return min(max(NEGATIVES * base_rate, FEWEST_NEGATIVES), 1.0)


def length_of(pairs: int, offers: int, pairs_per_batch: int | None = None, negative_rate: float = 1.0) -> Length:
    """The sizes of a training.

    Parameters
    ----------
    pairs : customer x offer pairs of all training cutoffs.
    offers : of a customer; a batch holds whole customers.
    pairs_per_batch : as the user set it; None: by the rule.
    negative_rate : of the never-bought negatives. The rule counts the pairs of a batch that are kept, and `Length` all.

    Examples
    --------
    >>> length_of(280_000, 30)[1:]
    (4096, 69, 2000, 50)
    >>> length_of(4_500_000_000, 225)[1:]
    (32768, 137932, 551728, 250)
    """
    kept = min(max(int(pairs * negative_rate) // BATCHES, SMALLEST), LARGEST)
    batch = pairs_per_batch or min(int(kept / negative_rate), CUSTOMERS * max(offers, 1))
    customers = max(batch // max(offers, 1), 1)
    per_pass = max(-(-pairs // (customers * max(offers, 1))), 1)
    longest = max(int(PASSES * per_pass), STEPS)
    return Length(pairs, batch, per_pass, longest, min(max(longest // VALIDATIONS, FEWEST), MOST))


class EndAtStep(Callback):
    """Ends a training after a number of optimizer steps, also one that resumes there."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or trainer.global_step >= self.steps

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        trainer.should_stop = trainer.should_stop or trainer.global_step >= self.steps


class EndByValidation(Callback):
    """Ends a training once a monitored metric no longer improves, and keeps the checkpoint of its lowest value.

    Parameters
    ----------
    monitor : name of a metric that is better when lower.
    checkpoint : file of that checkpoint; None: it is not kept.

    Notes
    -----
    `is_level` says when training ends. Smaller improvements count for the checkpoint, but do not prolong the training.
    """

    def __init__(self, monitor: str, checkpoint: Path | None = None) -> None:
        self.monitor, self.checkpoint = monitor, checkpoint
        self.history: dict[int, float] = {}  # step of each validation -> monitored value, in order

    @property
    def best_step(self) -> int:
        """Step of the lowest value; 0 without a finite one."""
        finite = [step for step, value in self.history.items() if isfinite(value)]
        return min(finite, key=self.history.__getitem__, default=0)

    @property
    def ended(self) -> bool:
        """Whether validation ended the training."""
        return is_level(self.history)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.ended  # a resumed training may have ended already

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or self.monitor not in trainer.callback_metrics:
            return
        self.history[trainer.global_step] = float(trainer.callback_metrics[self.monitor])
        if self.checkpoint is not None and self.best_step == trainer.global_step:
            trainer.save_checkpoint(self.checkpoint)
        trainer.should_stop = trainer.should_stop or self.ended

    def state_dict(self) -> dict[str, Any]:
        return {"history": dict(self.history)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = dict(state_dict["history"])


def is_level(history: Mapping[int, float]) -> bool:
    """Whether a metric no longer improves.

    Parameters
    ----------
    history : step of each validation -> value that is better when lower, in order.

    Notes
    -----
    An improvement is a fall by `BETTER` of the value: smaller ones are within the noise of a validation, and cost as
    much time as the large ones before them. There must be `WITHOUT` validations after the last improvement, and they
    must make up a third of all steps, so that a long training is given as much patience as its length calls for.

    >>> is_level({10: 1.0, 20: 0.5} | dict.fromkeys(range(30, 90, 10), 0.6))
    True
    >>> is_level({100: 1.0, 200: 0.5} | dict.fromkeys(range(210, 270, 10), 0.6))
    False
    """
    level, level_step, without, step = float("inf"), 0, 0, 0
    for step, value in history.items():
        if value < level * (1 - BETTER):
            level, level_step, without = value, step, 0
        else:
            without += 1
    return without >= WITHOUT and step >= GROWTH * level_step


def length_warnings(length: Length, steps: int, ended: bool, validated: bool) -> list[str]:
    """What may be wrong with the number of steps of a training, as sentences.

    Parameters
    ----------
    length : sizes of the training.
    steps : at which validation was best, or that were made without any.
    ended : whether validation ended the training before its longest.
    validated : whether there was a validation.
    """
    sentences = []
    if steps < WARMUP:
        sentences.append(f"the network had only {steps} optimizer steps; a longer log or more customers would help it")
    if not validated:
        sentences.append(
            f"no label window was free to validate on: the length of {steps} steps is a guess; a longer log, or "
            "trainer.max_epochs, would settle it"
        )
    elif not ended:
        sentences.append(
            f"validation was still improving when training ended after {steps} steps; raise trainer.max_steps"
        )
    elif length.passes(steps) < 0.5:
        sentences.append(
            f"the network overfits: validation was best after {steps} steps, {length.passes(steps):.2f} passes "
            "over the training cutoffs; a simpler model may be better"
        )
    return sentences
