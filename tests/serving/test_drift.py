"""Drift is reported by column; it fails above a threshold, and a page shows it."""

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


def config(exported: Exported, cutoff: str, **thresholds: float) -> DriftConfig:
    return DriftConfig(bundle=str(exported.bundle), log=str(exported.log), cutoff=cutoff, **(LOOSE | thresholds))


def test_the_training_window_has_not_drifted_from_itself(exported: Exported) -> None:
    report = drift(config(exported, exported.manifest["window"]["cutoff"]), lambda text: None)
    assert max(report.stability_index.values()) < 1e-9 and report.score_index < 1e-9
    names = [f"pair.{name}" for name in exported.manifest["features"]["pair"]]
    assert set(names) <= set(report.stability_index)
    report.require()


def test_calibration_is_that_of_the_last_complete_label_window(exported: Exported) -> None:
    log = EventLog.open(exported.log)
    cutoff = exported.manifest["end"]  # its last complete label window is the training window
    report = drift(config(exported, cutoff), lambda text: None)
    assert report.current_calibration == pytest.approx(report.training_calibration, rel=1e-6)
    later = drift(config(exported, to_date(log.last_day + 1).isoformat()), lambda text: None)
    assert later.current_calibration != pytest.approx(later.training_calibration, rel=1e-6)


def test_drift_above_a_threshold_fails_with_a_message(exported: Exported, tmp_path: Path) -> None:
    report = drift(config(exported, exported.cutoff, inputs=0.0, share=0.0), lambda text: None)
    with pytest.raises(GateError, match=r"drift at .*: \d+ of \d+ inputs drifted \(largest: .*, .*\); train again"):
        report.require()
    show_drift(report, str(tmp_path / "drift.html"))
    page = (tmp_path / "drift.html").read_text()
    assert page.startswith("<!doctype html>") and report.drifted[0] in page and "inputs drifted" in page


def test_each_threshold_has_an_alarm() -> None:
    thresholds = {"inputs": 0.25, "share": 0.1, "scores": 0.25, "calibration": 1.5}
    stable = DriftReport("2024-01-01", "2023-01-01", {"a": 0.1, "b": 0.2}, 0.1, 1.0, 0.9, thresholds)
    assert stable.alarms == [] and stable.drifted == []
    drifted = DriftReport("2024-01-01", "2023-01-01", {"a": 0.1, "b": 0.3}, 0.4, 1.0, 0.5, thresholds)
    assert drifted.calibration_factor == pytest.approx(2.0)
    assert drifted.alarms == [
        "1 of 2 inputs drifted (largest: b, 0.30)",
        "the scores drifted (0.40)",
        "expected over observed purchases changed from 1.00 to 0.50",
    ]


def test_a_cutoff_before_the_data_is_refused(exported: Exported) -> None:
    with pytest.raises(ConfigurationError, match="is not after the first purchase"):
        drift(config(exported, "1999-01-01"), lambda text: None)
