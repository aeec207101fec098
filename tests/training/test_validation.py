"""Validation sees what training does not, judges the weights that are kept, and decides what is monitored."""

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
from propensity.data.cutoff import Cutoff, parse_cutoff
from propensity.data.event_log import EventLog, to_date
from propensity.errors import ConfigurationError
from propensity.evaluation.labels import labels
from propensity.metric.declaration import Metric
from propensity.metric.evaluation import evaluate
from propensity.metric.labels import Prediction
from propensity.training.checkpoint import load_trained
from propensity.training.curve import SUMMARY, load_curves
from propensity.training.fit import CHECKPOINTS
from propensity.training.metric import by_name, validation_metrics
from propensity.training.predict import predict
from propensity.training.run import train
from propensity.training.validation import validation_set, windows

CALIBRATED = re.compile(r"amount_scale|members\.\d+\.(base|explore\.pair)\.weight")

Compose = Callable[..., Any]
EPOCHS = (
    "trainer.max_steps=-1",
    "trainer.limit_train_batches=3",
    "training.pairs_per_batch=512",
    "training.refit=false",
)


def run(compose: Compose, world: dict[str, Any], out: Path, *more: str) -> dict[str, Any]:
    """A training's summary."""
    train(compose("train", *SMALL, *QUICK, *EPOCHS, f"data.log={world['folder']}", f"out={out}", *more))
    summary: dict[str, Any] = json.loads((out / SUMMARY).read_text())
    return summary


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_trained(folder).model.state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], calibrated: bool = True) -> bool:
    """Whether weights are the same; with or without those that are set after a fit by `training.calibrate`."""
    return all(torch.equal(a[name], b[name]) for name in a if calibrated or not CALIBRATED.fullmatch(name))


@pytest.mark.parametrize("validation", [1, 3])
def test_training_labels_close_by_the_first_validation_cutoff(small_world: dict[str, Any], validation: int) -> None:
    task, log = small_world["task"], small_world["log"]
    chosen = windows(task, log, validation)
    first = chosen.cutoffs[0].day
    assert [cutoff.day for cutoff in chosen.cutoffs] == [first + task.horizon * k for k in range(validation)]
    assert chosen.cutoffs[-1].end == chosen.end == task.end_day(log)
    assert all(each.market_stats.cutoff.end <= first for each in chosen.task.training_set(log).cutoffs_data)
    assert windows(task, log, None).task is task


def test_a_validation_window_that_is_not_complete_is_refused(small_world: dict[str, Any]) -> None:
    task, log = small_world["task"], small_world["log"]
    late = to_date(task.end_day(log) - 1).isoformat()
    with pytest.raises(ConfigurationError, match=f"labels of cutoff {late} need data up to"):
        windows(task, log, [late])
    with pytest.raises(ConfigurationError, match="training.validation=0 is no number of windows"):
        windows(task, log, 0)
    with pytest.raises(ConfigurationError, match="training.validation=soon is neither a number nor a list"):
        windows(task, log, "soon")


def test_a_sample_of_customers_follows_from_the_seed(small_world: dict[str, Any]) -> None:
    task, log, vocabulary = small_world["task"], small_world["log"], small_world["examples"].vocabulary
    chosen = windows(task, log, 1)

    def sample(customers: int | None, seed: int) -> list[int]:
        validation = validation_set(chosen, log, vocabulary, customers, seed)
        assert validation is not None
        return [int(each) for each in validation.cutoffs_data[0].row]

    everyone = sample(None, 1)
    assert sample(30, 1) == sample(30, 1) != sample(30, 2)
    assert len(set(sample(30, 1))) == 30 and set(sample(30, 1)) < set(everyone) and sample(9999, 1) == everyone


def test_a_validation_leaves_the_weights_of_its_training_windows(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path
) -> None:
    first = windows(small_world["task"], small_world["log"], 1).cutoffs[0]
    run(composed, small_world, tmp_path / "with", "training.validation=1", "trainer.val_check_interval=1")
    run(composed, small_world, tmp_path / "without", f"data.end={first}")
    assert same(weights(tmp_path / "with"), weights(tmp_path / "without"))
    about = load_trained(tmp_path / "with").about
    assert about["end"] == str(first) and about["validation"] == [str(first)] and about["last_label"] > about["end"]


def test_nothing_dated_in_a_validation_window_reaches_the_weights(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path
) -> None:
    log: EventLog = small_world["log"]
    later = log.day >= windows(small_world["task"], log, 1).cutoffs[0].day
    rng = np.random.default_rng(0)
    columns = {name: np.array(getattr(log, name)) for name in ("item", "revenue", "quantity")}
    for name in columns:
        columns[name][later] = rng.permutation(columns[name][later])
    EventLog(**{**{f: getattr(log, f) for f in log.__dataclass_fields__}, **columns}).save(tmp_path / "log")
    a = run(composed, small_world, tmp_path / "a", "training.validation=1")
    b = run(composed, small_world, tmp_path / "b", "training.validation=1", f"data.log={tmp_path / 'log'}")
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert a["metrics"]["val/log_loss"] != b["metrics"]["val/log_loss"]


@pytest.mark.parametrize("averaging", ["8.0", "null"])
def test_validation_judges_the_weights_that_are_kept_as_an_evaluation_does(
    averaging: str, small_world: dict[str, Any], composed: Compose, tmp_path: Path
) -> None:
    more = ("training.validation=1", "training.validation_pairs=null", f"training.averaging={averaging}")
    found = run(composed, small_world, tmp_path, *more, "trainer.max_epochs=2")["metrics"]
    trained, log = load_trained(tmp_path), small_world["log"]
    cutoff = parse_cutoff(log, trained.about["validation"][0], trained.task.horizon)
    cutoff_data = trained.task.cutoff_data(log, cutoff, trained.vocabulary)
    scores, happened = predict(trained.model, cutoff_data), labels(log, cutoff_data)
    report = evaluate([happened], {"x": [Prediction(scores.probability, scores.revenue)]}, reference="x", resamples=0)
    cells = report["models"]["x"]["mean"]
    for name, metric in by_name(validation_metrics([])).items():
        cell = cells["never-bought" if "never_bought" in name else "all"][metric.name]
        assert found.get(name) == (None if cell["value"] is None else pytest.approx(cell["value"], rel=1e-5)), name
    assert {"val/auc", "val/expected_over_observed_revenue", "val/never_bought/log_loss"} <= set(found)
    assert set(found) <= {"train/loss", "val/loss", *by_name(validation_metrics([]))} and np.isfinite(found["val/loss"])


def highest() -> Metric:
    """A metric of one's own."""

    def of(probability: np.ndarray, bought: np.ndarray, weight: np.ndarray) -> float:
        return float(probability.max(initial=0.0))

    return Metric("highest", "Highest probability", "lower", "probability", of)


def test_a_metric_of_one_s_own_is_validated_and_monitored(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path
) -> None:
    own = (f"metrics=[{{_target_: {__name__}.highest}}]", "training.validation=1")
    stop = ("callbacks=early_stopping", "callbacks.early_stopping.monitor=val/never_bought/highest")
    found = run(composed, small_world, tmp_path, *own, *stop)["metrics"]
    assert 0 < found["val/never_bought/highest"] <= found["val/highest"] <= 1


def test_the_best_checkpoint_is_what_a_run_keeps(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("propensity.training.run.calibrate", lambda model, data: None)  # moves metrics after the curve
    more = ("callbacks=best_checkpoint", "callbacks.best_checkpoint.monitor=val/auc", "training.averaging=null")
    length = ("training.validation=1", "trainer.max_epochs=5", "optimizer.lr=0.05")
    summary = run(composed, small_world, tmp_path, *more, *length)
    curve = load_curves(tmp_path)["val/auc"]
    best = int(np.argmax(curve.value))
    assert summary["step"] == curve.step[best] + 1
    assert summary["metrics"]["val/auc"] == pytest.approx(curve.value[best], abs=1e-6)
    kept = torch.load(tmp_path / CHECKPOINTS / "best.ckpt", weights_only=True)["state_dict"]
    assert same(
        weights(tmp_path), {name.removeprefix("model."): value for name, value in kept.items()}, calibrated=False
    )


def test_a_training_stops_once_its_metric_stops_getting_better(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path
) -> None:
    stop = ("callbacks=early_stopping", "callbacks.early_stopping.monitor=val/auc")
    patience = ("callbacks.early_stopping.patience=1", "callbacks.early_stopping.min_delta=1.0")
    summary = run(composed, small_world, tmp_path, *stop, *patience, "training.validation=1", "trainer.max_epochs=9")
    assert summary["epochs"] == 2 and summary["steps"] == 6


def test_a_training_that_stops_within_an_epoch_is_validated_at_its_end(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("propensity.training.run.calibrate", lambda model, data: None)  # moves metrics after the curve
    more = ("training.validation=1", "trainer.max_epochs=9", "trainer.max_steps=4", "training.averaging=1.0")
    found = run(composed, small_world, tmp_path, *more)
    curve = load_curves(tmp_path)["val/auc"]
    assert found["steps"] == 4 and len(curve.value) == 2
    assert found["metrics"]["val/auc"] == pytest.approx(curve.value[-1], abs=1e-6)
    assert curve.value[0] != curve.value[1]


def test_a_monitored_metric_that_is_undefined_is_said(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path
) -> None:
    more = ("callbacks=early_stopping", "callbacks.early_stopping.monitor=val/auc", "training.validation=1")
    with pytest.raises(ConfigurationError, match="val/auc is undefined, for want of buyers; give more"):
        run(composed, small_world, tmp_path, *more, "training.validation_pairs=16")


def test_customers_who_come_later_change_no_validation_sample(small_world: dict[str, Any]) -> None:
    log, vocabulary = small_world["log"], small_world["examples"].vocabulary
    chosen = windows(small_world["task"], log, 1)
    early = Cutoff(chosen.cutoffs[0].day - 90, chosen.cutoffs[0].horizon)
    samples = []
    for each in (log, log.before(early.end)):
        validation = validation_set(chosen._replace(cutoffs=[early]), each, vocabulary, 20, 3)
        assert validation is not None
        samples.append(validation.cutoffs_data[0].customer_id.tolist())
    assert samples[0] == samples[1] and len(samples[0]) == 20
    assert log.before(early.end).customer_id.tolist() != log.customer_id.tolist(), "rows are not the same"
