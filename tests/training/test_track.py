"""The numbers that reach a logger are those of metrics.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from propensity.training import track
from propensity.training.track import WANDB, log_evaluation, numbers

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


@pytest.mark.parametrize(
    "logger", [None, {"_target_": "lightning.pytorch.loggers.CSVLogger"}, {"_target_": "os.system"}]
)
def test_other_loggers_are_not_asked(logger: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(track, "instantiate", None)
    assert log_evaluation(METRICS, logger, tmp_path) == 0


@pytest.mark.slow
def test_wandb_keeps_them_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for variable in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(variable, raising=False)
    logger = {"_target_": WANDB, "_partial_": True, "project": "propensity", "offline": True}
    assert log_evaluation(METRICS, logger, tmp_path / "run") == len(dict(numbers(METRICS)))
    (kept,) = (tmp_path / "run").glob("wandb/offline-run-*/run-*.wandb")
    assert b"models/network/mean/all/auc/value" in kept.read_bytes()
