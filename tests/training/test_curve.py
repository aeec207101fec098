"""A learning curve holds every step once, also after an interruption, and an epoch's line prints its mean."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import QUICK, SMALL
from propensity.training.curve import Curve, load_curves
from propensity.training.module import PropensityModule
from propensity.training.run import train

Compose = Callable[..., Any]
LENGTH = ("trainer.max_steps=-1", "training.pairs_per_batch=512", "trainer.log_every_n_steps=2")


def config(compose: Compose, world: dict[str, Any], out: Path, *more: str) -> Any:
    return compose("train", *SMALL, *QUICK, *LENGTH, f"data.log={world['folder']}", f"out={out}", *more)


def test_a_resumed_run_keeps_its_earlier_curve(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ("trainer.max_epochs=3", "training.validation=1")
    train(config(composed, small_world, tmp_path / "whole", *more))
    step = PropensityModule.training_step
    for epoch in (1, 2):

        def falters(module: PropensityModule, batch: Any, batch_idx: int, epoch: int = epoch) -> Any:
            if module.current_epoch == epoch and batch_idx == 3:
                raise RuntimeError("the power went out")
            return step(module, batch, batch_idx)

        with monkeypatch.context() as patched:
            patched.setattr(PropensityModule, "training_step", falters)
            with pytest.raises(RuntimeError, match="power"):
                train(config(composed, small_world, tmp_path / "cut", *more))
    train(config(composed, small_world, tmp_path / "cut", *more))
    whole, cut = load_curves(tmp_path / "whole"), load_curves(tmp_path / "cut")
    assert {"train/loss_step", "train/loss_epoch", "val/auc"} <= set(whole) == set(cut)
    for name, curve in whole.items():
        assert cut[name].step == curve.step, name
        assert cut[name].value == pytest.approx(curve.value, rel=1e-4, abs=1e-5), name
    assert len(whole["val/auc"].step) == 3


def test_an_epoch_s_line_prints_the_mean_loss_of_the_epoch(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    every = ("trainer.log_every_n_steps=1", "trainer.limit_train_batches=5", "training.validation=1")
    train(config(composed, small_world, tmp_path, *every, "trainer.enable_progress_bar=true"))
    curves = load_curves(tmp_path)
    line = re.search(r"epoch 1 of 1: loss ([\d.]+), val/loss ([\d.]+)", capsys.readouterr().err)
    assert line is not None
    steps = curves["train/loss_step"].value
    assert len(steps) == 5 and min(steps) < float(line[1]) < max(steps)
    assert float(line[1]) == pytest.approx(curves["train/loss_epoch"].value[0], abs=1e-4)
    assert float(line[2]) == pytest.approx(curves["val/loss"].value[0], abs=1e-4)


def test_a_run_without_a_csv_logger_has_no_curves(tmp_path: Path) -> None:
    assert load_curves(tmp_path) == {}
    (tmp_path / "log").mkdir()
    (tmp_path / "log/metrics.csv").write_text("epoch,step,val/auc\n0,9,\n0,19,0.7\n")
    assert load_curves(tmp_path) == {"val/auc": Curve("val/auc", [19], [0.7])}
