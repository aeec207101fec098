"""Drift is told by name, past thresholds it fails, and a page shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from propensity.config import DriftConfig
from propensity.data.event_log import EventLog, to_date
from propensity.errors import ConfigurationError, GateError
from propensity.report.bundle import show_drift
from propensity.serving.drift import DriftReport, drift
from serving.exported import Exported

LOOSE: dict[str, Any] = {"inputs": 50.0, "share": 1.0, "scores": 50.0, "calibration": 1e6, "customers": 500}


def config(exported: Exported, cutoff: str, **limits: float) -> DriftConfig:
    return DriftConfig(bundle=str(exported.bundle), log=str(exported.log), cutoff=cutoff, **(LOOSE | limits))


def test_the_training_window_has_not_drifted_from_itself(exported: Exported) -> None:
    found = drift(config(exported, exported.about["window"]["cutoff"]), lambda text: None)
    assert max(found.index.values()) < 1e-9 and found.scores < 1e-9
    names = [f"pair.{name}" for name in exported.about["rule"]["pair"]]
    assert set(names) <= set(found.index)
    found.require()


def test_calibration_is_that_of_the_last_closed_window(exported: Exported) -> None:
    log = EventLog.open(exported.log)
    cutoff = exported.about["end"]  # its last closed window is the training window
    found = drift(config(exported, cutoff), lambda text: None)
    assert found.now == pytest.approx(found.then, rel=1e-6)
    later = drift(config(exported, to_date(log.last_day + 1).isoformat()), lambda text: None)
    assert later.now != pytest.approx(later.then, rel=1e-6)


def test_past_a_limit_it_fails_with_a_sentence(exported: Exported, tmp_path: Path) -> None:
    found = drift(config(exported, exported.cutoff, inputs=0.0, share=0.0), lambda text: None)
    with pytest.raises(GateError, match=r"drift at .*: \d+ of \d+ inputs moved \(.* most, .*\); train again"):
        found.require()
    show_drift(found, str(tmp_path / "drift.html"))
    page = (tmp_path / "drift.html").read_text()
    assert page.startswith("<!doctype html>") and found.moved[0] in page and "inputs moved" in page


def test_each_limit_has_its_alarm() -> None:
    limits = {"inputs": 0.25, "share": 0.1, "scores": 0.25, "calibration": 1.5}
    calm = DriftReport("2024-01-01", "2023-01-01", {"a": 0.1, "b": 0.2}, 0.1, 1.0, 0.9, limits)
    assert calm.alarms == [] and calm.moved == []
    loud = DriftReport("2024-01-01", "2023-01-01", {"a": 0.1, "b": 0.3}, 0.4, 1.0, 0.5, limits)
    assert loud.factor == pytest.approx(2.0)
    assert loud.alarms == [
        "1 of 2 inputs moved (b most, 0.30)",
        "scores moved by 0.40",
        "expected over observed purchases went from 1.00 to 0.50",
    ]


def test_a_date_before_the_data_is_refused(exported: Exported) -> None:
    with pytest.raises(ConfigurationError, match="is not after the first purchase"):
        drift(config(exported, "1999-01-01"), lambda text: None)
