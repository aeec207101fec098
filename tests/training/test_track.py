"""The numbers that reach a logger are those of metrics.json, in the run that holds the training."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import Any

import pytest

from propensity.training import track
from propensity.training.track import CSV, EVALUATION, FILE, MLFLOW, TENSORBOARD, WANDB, log_evaluation, numbers

CELL = {"value": 0.5, "low": 0.4, "high": 0.6}
SLICES = {"all": {"auc": CELL}, "light": {"auc": {"value": None, "low": None, "high": None, "reason": "nobody"}}}
LED = {"all": {"auc": CELL | {"verdict": "win"}}}
METRICS: dict[str, Any] = {
    "verdict": "win",
    "models": {"network": {"mean": SLICES, "2024-03-04": SLICES}},
    "differences": {"frequency": {"mean": LED, "2024-03-04": LED}},
    "heuristics": {"rule": {"messages": 10.0, "left": CELL}},
    "decay": {"points": [{"weeks": 2, "lost": CELL}]},
}


def test_every_number_goes_by_its_path():
    found = dict(numbers(METRICS))
    assert found["models/network/mean/all/auc/low"] == 0.4 and found["decay/2/lost/high"] == 0.6
    assert found["differences/frequency/2024-03-04/all/auc/value"] == 0.5 and found["heuristics/rule/messages"] == 10.0
    assert not any("light" in name or "verdict" in name or "reason" in name for name in found)
    assert len(found) == 4 * 3 + 4 + 3


@pytest.mark.parametrize("loggers", [None, {}, {"mine": {"_target_": "os.system"}}, {"mine": None}])
def test_a_logger_of_another_class_is_left_alone(loggers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(track, "instantiate", None)
    assert log_evaluation(METRICS, loggers, tmp_path) == 0
    assert not list(tmp_path.iterdir())


def test_a_csv_logger_keeps_the_evaluation_beside_its_curve(tmp_path: Path):
    (tmp_path / "log").mkdir()
    (tmp_path / "log/metrics.csv").write_text("step,train/loss_step\n9,0.5\n")
    logger = {"csv": {"_target_": CSV, "name": "", "version": "log"}}
    assert log_evaluation(METRICS, logger, tmp_path) == len(dict(numbers(METRICS)))
    with (tmp_path / "log" / EVALUATION).open() as stream:
        assert {row["metric"]: float(row["value"]) for row in csv.DictReader(stream)} == dict(numbers(METRICS))
    assert (tmp_path / "log/metrics.csv").read_text().count("\n") == 2


class Service:
    """Stands for the logger of a service, which may not be installed."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings, self.experiment = settings, self
        self.words: dict[str, Any] = {}
        self.summary = self.words
        self.run_id = settings.get("run_id")

    def log_metrics(self, values: dict[str, float]) -> None:
        self.values = values

    def set_tag(self, run_id: str, name: str, word: str) -> None:
        self.words[name] = word

    def add_text(self, name: str, word: str) -> None:
        self.words[name] = word

    def finish(self) -> None:
        self.ended = True

    def finalize(self, status: str) -> None:
        self.ended = True


@pytest.mark.parametrize(
    ("target", "known"), [(WANDB, {"id": "a1"}), (MLFLOW, {"run_id": "a1"}), (TENSORBOARD, {"version": "tensorboard"})]
)
def test_an_evaluation_joins_the_run_of_its_training(
    target: str, known: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    services: list[Service] = []

    def build(name: str, part: dict[str, Any], out: Path, run: str | None) -> Service:
        argument = track.IDS.get(target)
        services.append(Service({**part, **({argument: run} if argument else {})}))
        return services[-1]

    monkeypatch.setattr(track, "build", build)
    (tmp_path / FILE).write_text(json.dumps({"mine": "a1"}))
    part = {"_target_": target, "version": "tensorboard"}
    assert log_evaluation(METRICS, {"mine": part}, tmp_path) == len(dict(numbers(METRICS)))
    (service,) = services
    assert service.settings.items() >= known.items()
    assert service.values == dict(numbers(METRICS)) and service.words == {"verdict": "win"} and service.ended


@pytest.mark.slow
def test_wandb_keeps_them_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for variable in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / FILE).write_text(json.dumps({"wandb": "trained1"}))
    logger = {"wandb": {"_target_": WANDB, "project": "propensity", "offline": True}}
    assert log_evaluation(METRICS, logger, tmp_path / "run") == len(dict(numbers(METRICS)))
    (kept,) = (tmp_path / "run").glob("wandb/offline-run-*/run-trained1.wandb")
    deadline = time.monotonic() + 30  # a process of W&B writes the file, after `finish` has returned
    while b"models/network/mean/all/auc/value" not in kept.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert b"models/network/mean/all/auc/value" in kept.read_bytes()
