"""A run: decided by its seed, resumable, stopped by a loss that is no number, blind to what lies past its end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from conftest import QUICK, SMALL
from propensity.data.event_log import EventLog, to_date
from propensity.errors import ConfigurationError, GateError
from propensity.training.checkpoint import load_trained
from propensity.training.fit import PROGRESS
from propensity.training.module import PropensityModule
from propensity.training.run import train

Compose = Callable[..., Any]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_trained(run).model.state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def config(compose: Compose, world: dict[str, Any], out: Path, *more: str) -> Any:
    return compose("train", *SMALL, *QUICK, f"data.log={world['folder']}", f"out={out}", *more)


def test_a_fit_hands_its_settings_to_its_batches(small_world: dict[str, Any], composed: Compose) -> None:
    settings = (
        "training.pairs_per_batch=600",
        "training.negative_rate=0.3",
        "training.length_bucketing=true",
        "training.log_on_device=true",
    )
    chosen = instantiate(composed("train", *settings).training, _convert_="all")
    loader = chosen.data_module(small_world["examples"], small_world["task"], 5)
    assert loader.batch_size == 600 // len(small_world["examples"].features.offers)
    assert (loader.seed, loader.negative_rate, loader.length_bucketing, loader.log_on_device) == (5, 0.3, True, True)
    assert next(iter(loader.train_dataloader())).batch.place is not None


def test_the_seed_decides_everything(small_world: dict[str, Any], composed: Compose, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(config(composed, small_world, tmp_path / name, f"seed={seed}"))
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


@pytest.mark.parametrize("negative_rate", [1.0, 0.3])
def test_an_interrupted_run_ends_as_if_it_had_not_been(
    small_world: dict[str, Any],
    composed: Compose,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    negative_rate: float,
) -> None:
    length = ("trainer.max_epochs=3", "trainer.max_steps=-1", "training.pairs_per_batch=4096", "logger=none")
    more = (*length, f"training.negative_rate={negative_rate}")
    train(config(composed, small_world, tmp_path / "whole", *more))

    step = PropensityModule.training_step

    def falters(module: PropensityModule, batch: Any, batch_idx: int) -> Any:
        if module.current_epoch == 2:
            raise RuntimeError("the power went out")
        return step(module, batch, batch_idx)

    monkeypatch.setattr(PropensityModule, "training_step", falters)
    with pytest.raises(RuntimeError, match="power"):
        train(config(composed, small_world, tmp_path / "cut", *more))
    assert not (tmp_path / "cut" / "model.ckpt").exists()
    begun: list[int] = []

    def counts(module: PropensityModule, batch: Any, batch_idx: int) -> Any:
        begun.append(module.current_epoch)
        return step(module, batch, batch_idx)

    monkeypatch.setattr(PropensityModule, "training_step", counts)
    train(config(composed, small_world, tmp_path / "cut", *more))
    assert set(begun) == {2}, "whole epochs are not repeated"
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    for name in whole:
        torch.testing.assert_close(cut[name], whole[name], rtol=1e-5, atol=1e-6, msg=name)


def test_another_configuration_does_not_resume(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("the power went out")

    with monkeypatch.context() as patched:
        patched.setattr(PropensityModule, "training_step", fails)
        with pytest.raises(RuntimeError, match="power"):
            train(config(composed, small_world, tmp_path / "a", "seed=1"))
    train(config(composed, small_world, tmp_path / "a", "seed=2"))
    train(config(composed, small_world, tmp_path / "b", "seed=2"))
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_a_loss_that_is_no_number_stops_and_names_the_batch(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path
) -> None:
    cfg = config(composed, small_world, tmp_path, "optimizer.lr=1e30", "scheduler=none")
    cfg.trainer.update(max_steps=30, max_epochs=9)
    with pytest.raises(GateError, match=r"the loss is (nan|inf) by batch \d+ of epoch \d+; lower optimizer.lr"):
        train(cfg)
    assert not (tmp_path / "model.ckpt").exists()


@pytest.mark.parametrize("negative_rate", [1.0, 0.3])
def test_nothing_dated_at_or_after_the_end_reaches_the_weights(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path, negative_rate: float
) -> None:
    log: EventLog = small_world["log"]
    end = log.last_day - 30
    later = log.day >= end
    rng = np.random.default_rng(0)
    columns = {name: np.array(getattr(log, name)) for name in ("item", "kind", "revenue", "quantity", "order")}
    for name in ("item", "revenue", "quantity"):
        columns[name][later] = rng.permutation(columns[name][later])
    changed = EventLog(**{**{f: getattr(log, f) for f in log.__dataclass_fields__}, **columns}).save(tmp_path / "log")
    assert changed.fingerprint != log.fingerprint
    date = to_date(end).isoformat()
    settings = (f"data.end={date}", f"training.negative_rate={negative_rate}")
    train(config(composed, small_world, tmp_path / "a", *settings))
    cfg = config(composed, small_world, tmp_path / "b", *settings)
    cfg.data["log"] = str(tmp_path / "log")
    train(cfg)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_labels_that_are_not_complete_are_refused(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="training labels up to 2031-01-01 are not complete"):
        train(config(composed, small_world, tmp_path, "data.end=2031-01-01"))
    with pytest.raises(ConfigurationError, match="no training cutoff fits"):
        train(config(composed, small_world, tmp_path, f"data.end={to_date(small_world['log'].first_day + 15)}"))
    with pytest.raises(ConfigurationError, match="'soon' is not a date; write it as YYYY-MM-DD"):
        train(config(composed, small_world, tmp_path, "data.end=soon"))
    with pytest.raises(ConfigurationError, match=r"no offer has 9999 buyers before .*; lower data.offer"):
        train(config(composed, small_world, tmp_path, "data.offer.min_buyers=9999"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_run_is_left_alone(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("mine")
    for out in (tmp_path / "taken", tmp_path / "taken" / "run"):
        with pytest.raises(ConfigurationError, match="taken is a file; give another folder as out"):
            train(config(composed, small_world, out))
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_said(small_world: dict[str, Any], composed: Compose, tmp_path: Path) -> None:
    options = [o for o in QUICK if "pairs" not in o]
    with pytest.raises(ConfigurationError, match="training wants a GPU and torch sees none; use trainer=cpu"):
        train(
            composed("train", *SMALL, "trainer=gpu", *options, f"data.log={small_world['folder']}", f"out={tmp_path}")
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [(), ("training.validation=1", "trainer.max_epochs=2"), ("training.validation=1", "training.refit=false")]
)
def test_two_processes_train_one_network(
    more: tuple[str, ...], small_world: dict[str, Any], tmp_path: Path, repository: Path
) -> None:
    command = [sys.executable, "scripts/train.py", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    options = [o for o in QUICK if "steps" not in o]
    done = subprocess.run(
        [*command, *SMALL, *options, f"data.log={small_world['folder']}", f"out={tmp_path / 'run'}", *more],
        cwd=repository, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "MEMBER: 2/2" in done.stderr
    assert all(torch.isfinite(value).all() for value in weights(tmp_path / "run").values())
    assert not (tmp_path / "run" / PROGRESS).exists()
