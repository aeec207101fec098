"""A sweep leaves one table of its jobs, best first, and returns the objective of each."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hydra.core.global_hydra import GlobalHydra

from conftest import QUICK, SMALL
from propensity.command import SweepJob
from propensity.errors import ConfigurationError
from propensity.report.sweep import FILE, as_markdown, finish_job, load_jobs, ranked
from propensity.training.curve import SUMMARY, final_metrics

Compose = Callable[..., Any]


def finished(folder: Path, **metrics: float) -> Path:
    folder.mkdir(parents=True)
    (folder / SUMMARY).write_text(
        json.dumps({"metrics": {name.replace("_", "/", 1): v for name, v in metrics.items()}})
    )
    return folder


def job(number: int, command: str = "a") -> SweepJob:
    return SweepJob([command], [f"seed={number}", "model.width=8", "+model.depth=2", f"out=x/{number}"])


def sweep(compose: Compose, out: Path, objective: str, *values: float) -> list[float | None]:
    """Objectives of jobs with so many values of it."""
    found = []
    for number, value in enumerate(values):
        finished(out / str(number), train_loss=1.0, **{objective.replace("/", "_", 1): value})
        config = compose("train", f"out={out / str(number)}", f"objective={objective}")
        found.append(finish_job(config, job(number)))
    return found


@pytest.mark.parametrize(
    ("objective", "order"), [("val/auc", "120"), ("val/log_loss", "021"), ("val/expected_over_observed", "210")]
)
def test_jobs_are_ranked_by_what_is_better(objective: str, order: str, composed: Compose, tmp_path: Path) -> None:
    assert sweep(composed, tmp_path, objective, 0.1, 0.9, 1.0 if "over" in objective else 0.8) is not None
    rows = load_jobs(tmp_path, ["a"])
    expected = order if objective != "val/auc" else "120"
    assert "".join(row.job for row in ranked(rows)) == expected
    lines = as_markdown(rows).splitlines()
    assert lines[0].startswith(f"| job | seed | {objective} (objective) | train/loss")
    assert [line.split("|")[1].strip() for line in lines[2:]] == list(expected)


def test_a_table_holds_every_job_of_its_command_and_no_other(composed: Compose, tmp_path: Path) -> None:
    assert sweep(composed, tmp_path, "val/auc", 0.1, 0.9, 0.8) == [0.1, 0.9, 0.8]
    finished(tmp_path / "3", val_auc=0.7)
    finish_job(composed("train", f"out={tmp_path / '3'}", "objective=val/auc"), job(3, "another"))
    assert [row.job for row in load_jobs(tmp_path, ["a"])] == ["0", "1", "2"]
    finish_job(composed("train", f"out={tmp_path / '2'}", "objective=val/auc"), job(2))
    with (tmp_path / "sweep.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert [(row["job"], row["seed"], row["model.depth"]) for row in table] == [(str(k), str(k), "2") for k in range(3)]
    assert [float(row["objective"]) for row in table] == [float(row["val/auc"]) for row in table] == [0.1, 0.9, 0.8]
    texts = [each.text for each in ElementTree.parse(tmp_path / "sweep.svg").findall(".//{*}text")]
    assert [text for text in texts if text and text.startswith("seed=")] == ["seed=1", "seed=2", "seed=0"]


def test_outside_a_sweep_nothing_is_written(composed: Compose, tmp_path: Path) -> None:
    folder = finished(tmp_path / "run", val_log_loss=0.3, train_loss=0.5)
    assert finish_job(composed("train", f"out={folder}"), None) == 0.3
    assert finish_job(composed("train", f"out={folder}", "objective=train/loss"), None) == 0.5
    assert [path.name for path in folder.iterdir()] == [SUMMARY] and [path.name for path in tmp_path.iterdir()] == [
        "run"
    ]


def test_an_objective_that_is_undefined_is_said(composed: Compose, tmp_path: Path) -> None:
    folder = finished(tmp_path / "0", train_loss=0.5)
    with pytest.raises(ConfigurationError, match="objective=val/auc is undefined in .*; choose one of train/loss"):
        finish_job(composed("train", f"out={folder}", "objective=val/auc"), job(0))
    with pytest.raises(ConfigurationError, match=f"no {SUMMARY} in"):
        final_metrics(tmp_path)


def test_a_sweep_of_trainings_leaves_its_table(
    small_world: dict[str, Any], tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = util.spec_from_file_location("train_script", repository / "scripts/train.py")
    assert spec is not None and spec.loader is not None
    script = util.module_from_spec(spec)
    spec.loader.exec_module(script)
    settings = [*SMALL, *QUICK, f"data.log={small_world['folder']}", "training.validation=1", "optimizer.lr=0.001,0.01"]
    monkeypatch.setattr(sys, "argv", ["train", "-m", *settings, f"out={tmp_path / 'sweep'}"])
    try:
        script.main()
    finally:
        GlobalHydra.instance().clear()
    rows = load_jobs(tmp_path / "sweep", sys.argv[1:])
    assert [row.settings["optimizer.lr"] for row in rows] == ["0.001", "0.01"]
    assert all(row.objective == "val/log_loss" and row.value == row.metrics["val/log_loss"] for row in rows)
    assert {"sweep.csv", "sweep.md", "sweep.svg"} <= {path.name for path in (tmp_path / "sweep").iterdir()}
    assert (tmp_path / "sweep/0" / FILE).is_file() and (tmp_path / "sweep/1/curves.svg").is_file()
