"""A run of two stages: a search that ends by validation, then a refit on all windows for the length found."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import QUICK, SMALL
from propensity.data.event_log import EventLog, to_date
from propensity.errors import ConfigurationError
from propensity.training import length, run
from propensity.training.checkpoint import load_trained
from propensity.training.curve import METRICS, SUMMARY, load_curves
from propensity.training.fit import PROGRESS, Stage
from propensity.training.module import PropensityModule
from propensity.training.run import last_checkpoint, train
from propensity.training.storage import save_checkpoint
from propensity.training.validation import windows

CALIBRATED = re.compile(r"amount_scale|members\.\d+\.(base|explore\.pair)\.weight")

Compose = Callable[..., Any]
OPEN = ("trainer.max_steps=-1", "trainer.max_epochs=null", "training.validation=1")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open-ended trainings of at most 24 steps, validated after every second."""
    for name, value in (("STEPS", 24), ("FEWEST", 2), ("PASSES", 0.0)):
        monkeypatch.setattr(length, name, value)
    monkeypatch.setattr("propensity.training.fit.UNVALIDATED", 12)


def config(compose: Compose, world: dict[str, Any], out: Path, *more: str) -> Any:
    return compose("train", *SMALL, *QUICK, *OPEN, f"data.log={world['folder']}", f"out={out}", *more)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_trained(folder).model.state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], calibrated: bool = True) -> bool:
    """Whether weights are the same; with or without those that are set after a fit by `training.calibrate`."""
    return all(torch.equal(a[name], b[name]) for name in a if calibrated or not CALIBRATED.fullmatch(name))


def summary(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / SUMMARY).read_text())
    return content


def stages(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Stage, Any, dict[str, torch.Tensor]]]:
    """What every later fit does: its stage, its data module and the weights that it ends with."""
    seen: list[tuple[Stage, Any, dict[str, torch.Tensor]]] = []
    fit = run.fit

    def watched(model: Any, loss: Any, data: Any, config: Any, out: Path, stage: Stage) -> Any:
        fitted = fit(model, loss, data, config, out, stage)
        seen.append((stage, data, {name: value.clone() for name, value in model.state_dict().items()}))
        return fitted

    monkeypatch.setattr(run, "fit", watched)
    return seen


def shuffled(log: EventLog, first: int, folder: Path) -> Path:
    """A log whose items and amounts from a day on are those of other events."""
    later, rng = log.day >= first, np.random.default_rng(0)
    columns = {name: np.array(getattr(log, name)) for name in ("item", "revenue", "quantity")}
    for name in columns:
        columns[name][later] = rng.permutation(columns[name][later])
    EventLog(**{**{f: getattr(log, f) for f in log.__dataclass_fields__}, **columns}).save(folder)
    return folder


def test_the_refit_sees_the_windows_of_the_validation_and_the_search_does_not(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, log = stages(monkeypatch), small_world["log"]
    first = windows(small_world["task"], log, 1).cutoffs[0].day
    other = shuffled(log, first, tmp_path / "log")
    fixed = ("trainer.max_epochs=2",)  # a length that the labels do not change
    train(config(composed, small_world, tmp_path / "a", *fixed))
    train(config(composed, small_world, tmp_path / "b", *fixed, f"data.log={other}"))
    search, refit, other_search, other_refit = seen
    assert [stage.name for stage, *_ in seen] == ["search", "refit"] * 2
    assert same(search[2], other_search[2]) and not same(refit[2], other_refit[2])
    assert max(each.market_stats.cutoff.end for each in search[1].training_set.cutoffs_data) <= first
    assert max(each.market_stats.cutoff.end for each in refit[1].training_set.cutoffs_data) > first
    assert same(weights(tmp_path / "a"), refit[2], calibrated=False)
    assert load_trained(tmp_path / "a").about["end"] == load_trained(tmp_path / "a").about["last_label"]


def test_validation_decides_how_long_both_stages_train(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = stages(monkeypatch)
    train(config(composed, small_world, tmp_path))
    (_, search, kept), (refit, data, _) = seen
    curve = load_curves(tmp_path)["val/log_loss"]
    best, found = curve.step[int(np.argmin(curve.value))] + 1, summary(tmp_path)
    assert found["step"] == best <= found["steps"] <= 24 and curve.step[0] == 1
    assert found["metrics"]["val/log_loss"] == pytest.approx(min(curve.value), rel=0.02)  # calibrated since
    passes = [each.length.pass_steps for each in (search, data)]
    assert refit.steps == max(round(best * passes[1] / passes[0]), 1)
    assert found["choice"].startswith(f"{best} steps of ") and "passes over the training cutoffs" in found["choice"]
    assert not (tmp_path / PROGRESS).exists() and not same(kept, weights(tmp_path))


def test_a_run_without_a_refit_keeps_the_weights_of_the_best_validation(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = stages(monkeypatch)
    train(config(composed, small_world, tmp_path, "training.refit=false"))
    assert len(seen) == 1 and same(seen[0][2], weights(tmp_path), calibrated=False)
    about = load_trained(tmp_path).about
    assert [about["end"]] == about["validation"] and about["end"] < about["last_label"]


@pytest.fixture(scope="module")
def whole_runs() -> dict[tuple[str, ...], tuple[Path, list[tuple[Stage, Any, dict[str, torch.Tensor]]]]]:
    """Runs that nothing interrupted, and their stages, by their settings; the first test that needs one trains it."""
    return {}


@pytest.mark.parametrize("more", [(), ("trainer.max_epochs=3",)])
@pytest.mark.parametrize("stage", ["search", "between", "refit", "end"])
def test_a_run_that_is_interrupted_in_a_stage_ends_as_if_it_had_not_been(
    stage: str,
    more: tuple[str, ...],
    small_world: dict[str, Any],
    composed: Compose,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    whole_runs: dict[tuple[str, ...], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if more not in whole_runs:
        with monkeypatch.context() as patched:
            whole_runs[more] = tmp_path_factory.mktemp("whole"), stages(patched)
            train(config(composed, small_world, whole_runs[more][0], *more))
    whole_run, whole_stages = whole_runs[more]
    seen = stages(monkeypatch)

    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the power went out")

    step = PropensityModule.training_step

    def falters(module: PropensityModule, batch: Any, batch_idx: int) -> Any:
        searching = (tmp_path / "cut" / PROGRESS / "refit").exists() is False
        if module.current_epoch == 1 and searching == (stage == "search"):
            fails()
        return step(module, batch, batch_idx)

    with monkeypatch.context() as patched:
        if stage in ("between", "end"):
            patched.setattr(run, "fit_champion" if stage == "between" else "finish", fails)
        else:
            patched.setattr(PropensityModule, "training_step", falters)
        with pytest.raises(RuntimeError, match="power"):
            train(config(composed, small_world, tmp_path / "cut", *more))
    assert not (tmp_path / "cut" / "model.ckpt").exists()
    seen.clear()
    train(config(composed, small_world, tmp_path / "cut", *more))
    for whole, cut in zip(whole_stages, seen, strict=True):
        assert same(whole[2], cut[2]), cut[0].name
    assert same(weights(whole_run), weights(tmp_path / "cut"))
    ours, theirs = summary(tmp_path / "cut"), summary(whole_run)
    for each in (ours, theirs):  # of an epoch that was over
        each["metrics"].pop("train/loss", None)
    assert ours == theirs
    assert load_curves(tmp_path / "cut")["val/log_loss"] == load_curves(whole_run)["val/log_loss"]


def test_a_log_too_short_to_validate_on_trains_and_warns(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, log, seen = small_world["task"], small_world["log"], stages(monkeypatch)
    end = log.first_day + 30 + task.horizon + 2
    train(config(composed, small_world, tmp_path, f"data.end={to_date(end)}", "data.cutoff.minimum_history=30"))
    found = summary(tmp_path)
    assert len(seen) == 1 and found["steps"] == 12 and load_trained(tmp_path).about["validation"] == []
    short, steps, guess = found["warnings"]
    assert short == "the log is short: 0 of 1 label windows are left to validate on"
    assert "only 12 optimizer steps" in steps and "the length of 12 steps is a guess" in guess


def test_a_length_that_the_user_set_brings_no_warning_of_its_length(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path
) -> None:
    train(config(composed, small_world, tmp_path, "trainer.max_epochs=1", "trainer.max_steps=2"))
    assert summary(tmp_path)["warnings"] == [] and summary(tmp_path)["steps"] == 2


def test_a_checkpoint_of_one_s_own_choice_takes_the_place_of_the_best_log_loss(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path
) -> None:
    for name, metric, best in (("a", "val/auc", np.argmax), ("b", "val/log_loss", np.argmin)):
        own = ("callbacks=best_checkpoint", f"callbacks.best_checkpoint.monitor={metric}", "training.refit=false")
        train(config(composed, small_world, tmp_path / name, *own))
        curve = load_curves(tmp_path / name)[metric]
        assert summary(tmp_path / name)["step"] == curve.step[int(best(curve.value))] + 1


def test_a_pure_network_fits_no_candidates(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[str] = []
    for kind in run.KINDS.values():
        monkeypatch.setattr(kind, "fit", lambda self, *_, **__: fitted.append(type(self).__name__))
    train(config(composed, small_world, tmp_path, "trainer.max_epochs=1"))
    assert not fitted and not (tmp_path / "champion.json").exists() and not (tmp_path / "candidates").exists()


def test_a_champion_that_is_no_candidate_is_refused_before_training(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path
) -> None:
    for settings, words in (
        (["champion=lightgbn"], "champion=lightgbn is no candidate; choose one of auto"),
        (["champion=auto", "baselines=[frequenzy]"], "no baseline 'frequenzy'"),
        (["champion=stack", "training.validation=null"], "champion=stack needs validation"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            train(config(composed, small_world, tmp_path / "run", *settings))
        assert not (tmp_path / "run" / METRICS).exists()


def test_a_damaged_state_to_resume_from_is_told_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    last = tmp_path / PROGRESS / "search" / "last.ckpt"
    save_checkpoint({"global_step": 3, "weights": torch.arange(5)}, last)
    assert last_checkpoint(tmp_path, "search") == str(last)
    whole = last.read_bytes()
    for damaged in (whole[:-1], whole[: len(whole) // 2], b"", whole[:99] + b"\1" + whole[100:]):
        last.parent.mkdir(exist_ok=True)
        last.write_bytes(damaged)
        caplog.clear()
        assert last_checkpoint(tmp_path, "search") is None and not last.exists()
        assert "last.ckpt" in caplog.text and "passed over, and this part of the training starts again" in caplog.text
