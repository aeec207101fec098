"""A small training run and its bundle, made once per session; tests use it through conftest.py."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hydra import compose, initialize_config_dir

from conftest import QUICK, SMALL
from propensity.baseline.frequency import Frequency
from propensity.baseline.lightgbm import LightGBM
from propensity.baseline.logistic import Logistic
from propensity.champion.champion import Champion
from propensity.champion.choose import Choice
from propensity.champion.stack import AmountWeights, SegmentWeights, Stack
from propensity.command import typed
from propensity.config import conf_folder
from propensity.data.event_log import to_date
from propensity.task import TrainingSet
from propensity.training.checkpoint import load_trained


class Exported(NamedTuple):
    """Folders of run, log and bundle, the manifest, and a cutoff after the training window."""

    run: Path
    log: Path
    bundle: Path
    manifest: dict[str, Any]
    cutoff: str


@pytest.fixture(scope="session")
def exported(small_world: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    from propensity.serving.export import export
    from propensity.training.run import train

    folder, log = tmp_path_factory.mktemp("serving"), small_world["log"]
    end, cutoff = (to_date(log.last_day + 1 - back).isoformat() for back in (60, 30))
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        overrides = [*SMALL, *QUICK, "model.members=2", "model/season=fourier", f"data.log={small_world['folder']}"]
        train(typed(compose("train", overrides=[*overrides, f"data.end={end}", f"out={folder / 'run'}"])))
    formats = ["onnx", "torch_export"]
    manifest = export(folder / "run", folder / "bundle", formats, None, None, 300, 180, lambda text: None)
    return Exported(folder / "run", small_world["folder"], folder / "bundle", manifest, cutoff)


STACK = Stack(
    ("frequency", "logistic", "lightgbm", "network"),
    SegmentWeights((0.1, 0.2, 0.4, 0.3), 0.05),
    SegmentWeights((0.1, 0.1, 0.0, 0.8), -0.02),
    AmountWeights((0.2, 0.0, 0.5, 0.3), 1.1, 1.0),
)


def with_champion(run: Path, out: Path, training_set: TrainingSet, name: str) -> Path:
    """A copy of a run whose champion has candidates that are fitted on a training set, with given weights."""
    shutil.copytree(run, out)
    lightgbm = LightGBM(rows=20_000, amount_rows=5_000, n_estimators=12, amount_n_estimators=8, search=False)
    candidates: dict[str, Any] = {"frequency": Frequency(), "logistic": Logistic(rows=20_000), "lightgbm": lightgbm}
    for candidate in candidates.values():
        candidate.fit(training_set, 17)
    stack = STACK._replace(amount=STACK.amount._replace(unit=float(training_set.vocabulary.unit)))
    choice = Choice(name, f"{name}: set by the test", {each: {} for each in STACK.names})
    Champion(load_trained(run).model, candidates, stack, choice).save(out)
    return out


@pytest.fixture(scope="session")
def stacked(exported: Exported, small_world: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The same run with a stack of all candidates as its champion."""
    from propensity.serving.export import export

    folder = tmp_path_factory.mktemp("stacked")
    run = with_champion(exported.run, folder / "run", small_world["examples"], "stack")
    formats = ["onnx", "torch_export"]
    manifest = export(run, folder / "bundle", formats, None, None, 200, 180, lambda text: None)
    return exported._replace(run=run, bundle=folder / "bundle", manifest=manifest)
