"""Lightning's and torch's arguments are set by their own names, own classes take part, and a wrong place is named."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from torch.optim.lr_scheduler import OneCycleLR

from conftest import QUICK, SMALL
from propensity.config import conf_folder
from propensity.errors import ConfigurationError
from propensity.training.curve import SUMMARY
from propensity.training.module import complete
from propensity.training.run import train
from propensity.training.settings import FILLED, check_settings

Compose = Callable[..., Any]


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))


def test_every_argument_of_the_trainer_can_be_set_as_it_is_called(composed: Compose) -> None:
    names = [name for name in inspect.signature(pl.Trainer).parameters if name not in FILLED]
    assert "accumulate_grad_batches" in names and "detect_anomaly" in names
    config = composed("train", *(f"trainer.{name}=1" for name in names))
    assert all(config.trainer[name] == 1 for name in names)
    check_settings(config)


@pytest.mark.parametrize("group", ["optimizer", "scheduler", "callbacks", "trainer"])
def test_every_option_of_a_group_of_lightning_s_is_accepted_by_its_class(group: str, composed: Compose) -> None:
    for option in options(group):
        config = composed("train", f"{group}={option}", "training.validation=1", "trainer.accelerator=cpu")
        check_settings(config)
        for part in config.callbacks.values():
            assert isinstance(instantiate(part), Callback)


MISTAKES = {
    "+training.accumulate_grad_batches=2": "did you mean trainer.accumulate_grad_batches?",
    "+training.callbacks=x": "did you mean callbacks?",
    "trainer.max_epoch=2": "trainer.max_epoch is no argument of lightning.pytorch.Trainer; did you mean trainer.max_ep",
    "trainer.logger=true": "trainer.logger is filled in by the run; use the group logger",
    "optimizer.learning_rate=1": "optimizer.learning_rate is no argument of torch.optim.AdamW",
    "scheduler.total_iter=9": "did you mean scheduler.total_iters?",
    "optimizer._target_=torch.optim.Adan": "optimizer._target_=torch.optim.Adan does not exist",
    "callbacks.mine._target_=nowhere.Mine": "callbacks.mine._target_=nowhere.Mine does not exist",
    "callbacks.mine.patience=3": "callbacks.mine names no class; give callbacks.mine._target_=package.Class",
    "callbacks=early_stopping training.validation=null": "needs a validation; add training.validation=1",
    "objective=val/auc training.validation=null": "objective=val/auc needs a validation; add training.validation=1",
    "objective=val/acu": "objective=val/acu is no metric of a training; did you mean val/auc?",
}


@pytest.mark.parametrize("setting", MISTAKES)
def test_a_setting_in_a_wrong_place_names_the_right_one(setting: str, composed: Compose, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        train(composed("train", *SMALL, *setting.split(), f"out={tmp_path / 'run'}"))
    assert MISTAKES[setting] in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_a_metric_without_a_better_direction_asks_for_one(composed: Compose) -> None:
    chosen = ("callbacks=early_stopping", "training.validation=1", "callbacks.early_stopping.monitor=val/expected_over")
    name = f"{chosen[2]}_observed"
    with pytest.raises(ConfigurationError, match="is best at 1, neither high nor low; give .*mode=min or max"):
        check_settings(composed("train", *chosen[:2], name))
    check_settings(composed("train", *chosen[:2], name, "callbacks.early_stopping.mode=min"))


def test_what_the_trainer_itself_refuses_is_one_sentence(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path
) -> None:
    world = f"data.log={small_world['folder']}"
    with pytest.raises(ConfigurationError, match="Lightning's Trainer refuses its arguments: .*[Pp]recision"):
        train(composed("train", *SMALL, *QUICK, world, "trainer.precision=17", f"out={tmp_path}"))


class Counts(Callback):
    """A callback of a user's own."""

    batches = 0

    def __init__(self, every: int = 1) -> None:
        self.every = every

    def on_train_batch_end(self, *args: Any) -> None:
        Counts.batches += self.every


def test_a_callback_of_one_s_own_takes_part_and_gradients_accumulate(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path
) -> None:
    own = (f"callbacks.mine._target_={__name__}.Counts", "callbacks.mine.every=10", "trainer.accumulate_grad_batches=2")
    length = ("trainer.max_steps=-1", "trainer.limit_train_batches=4", f"data.log={small_world['folder']}")
    train(composed("train", *SMALL, *QUICK, *length, *own, "training.pairs_per_batch=256", f"out={tmp_path}"))
    assert Counts.batches == 40
    assert json.loads((tmp_path / SUMMARY).read_text())["steps"] == 2


def rates(option: str, composed: Compose, steps: int) -> list[float]:
    """Learning rates of a training of so many steps."""
    config = composed("train", f"scheduler={option}")
    optimizer = torch.optim.SGD([torch.zeros(2, requires_grad=True)], lr=0.5)
    scheduler: Any = complete(instantiate(config.scheduler), optimizer, steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_a_scheduler_gets_the_number_of_steps_and_the_optimizer_s_rate(composed: Compose) -> None:
    optimizer = torch.optim.SGD([torch.zeros(2, requires_grad=True)], lr=0.5)
    whole = OneCycleLR(optimizer, max_lr=0.5, total_steps=20, pct_start=0.1, cycle_momentum=False)
    cycle = rates("one_cycle", composed, 20)
    assert cycle[0] == whole.get_last_lr()[0] and max(cycle) == 0.5 and cycle[-1] < 1e-4
    cosine = rates("cosine", composed, 20)
    assert cosine[0] == 0.5 and cosine == sorted(cosine, reverse=True) and cosine[10] == pytest.approx(0.25)
    assert composed("train", "scheduler=none").scheduler is None


def test_a_training_without_an_end_needs_another_scheduler() -> None:
    optimizer = torch.optim.SGD([torch.zeros(2, requires_grad=True)], lr=0.5)
    with pytest.raises(ConfigurationError, match="needs a number of steps; give trainer.max_epochs or trainer.max_ste"):
        complete(functools.partial(OneCycleLR), optimizer, float("inf"))
