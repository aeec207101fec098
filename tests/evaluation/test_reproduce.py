"""Training a run again gives the same weights and metrics, and names every difference."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from conftest import evaluated_run
from propensity.checksum import seal_folder
from propensity.data.event_log import EventLog, to_date
from propensity.errors import ConfigurationError, DamageError
from propensity.evaluation import reproduce as module
from propensity.evaluation.reproduce import Reproduction, reproduce
from propensity.training.checkpoint import load_trained, save_trained

Compose = Callable[..., Any]


@pytest.fixture(scope="module")
def original(small_world: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run with a log of its own, evaluated where its labels end."""
    base = tmp_path_factory.mktemp("original")
    shutil.copytree(small_world["folder"], base / "log")
    end = to_date(small_world["log"].last_day + 1 - 40).isoformat()
    evaluated_run(base / "log", base / "run", end, "baselines=[]", "resamples=7")
    return {"run": base / "run", "log": base / "log", "end": end}


def again(composed: Compose, run: Path, *more: str) -> Reproduction:
    return reproduce(composed("reproduce", f"run={run}", *more), lambda text: None)


def copied(original: dict[str, Any], tmp_path: Path) -> Path:
    return Path(shutil.copytree(original["run"], tmp_path / "run"))


def named(reproduction: Reproduction) -> str:
    return "; ".join(map(str, reproduction.differences))


def test_a_run_is_reproduced_to_the_last_number(original: dict[str, Any], composed: Compose) -> None:
    files = sorted(path.name for path in original["run"].iterdir())
    result = again(composed, original["run"])
    assert result.differences == [] and result.compared > 100
    assert sorted(path.name for path in original["run"].iterdir()) == files, "nothing is left behind"


def test_a_changed_metric_is_named(original: dict[str, Any], composed: Compose, tmp_path: Path) -> None:
    run = copied(original, tmp_path)
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["models"]["network"]["mean"]["all"]["auc"]["value"] += 1e-6
    (run / "metrics.json").write_text(json.dumps(metrics))
    result = again(composed, run)
    assert [each.name for each in result.differences] == ["metric mean/all/auc/value"]
    assert named(result).startswith("metric mean/all/auc/value was 0.")


def test_changed_weights_are_named(original: dict[str, Any], composed: Compose, tmp_path: Path) -> None:
    run = copied(original, tmp_path)
    trained = load_trained(run)
    name, weight = next((n, w) for n, w in trained.model.state_dict().items() if w.is_floating_point() and w.numel())
    with torch.no_grad():
        weight.view(-1)[0] += 0.5
    save_trained(run, trained.model, trained.vocabulary, trained.about)
    (run / "metrics.json").unlink()
    assert [each.name for each in again(composed, run).differences] == [f"weight {name}"]


def test_an_edited_configuration_is_named_before_anything_is_trained(
    original: dict[str, Any], composed: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copied(original, tmp_path)
    config = OmegaConf.load(run / "config.yaml")
    config.seed = 99
    OmegaConf.save(config, run / "config.yaml")
    with pytest.raises(DamageError, match="config.yaml is damaged"):
        again(composed, run)
    seal_folder(run)
    monkeypatch.setattr(module, "train", None)
    assert named(again(composed, run)) == "setting seed was 17 and is 99"


def test_other_data_are_named_before_anything_is_trained(
    original: dict[str, Any], composed: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EventLog.open(original["log"])
    kept, before = tmp_path / "kept", log.fingerprint
    shutil.copytree(original["log"], kept)
    monkeypatch.setattr(module, "train", None)
    try:
        shorter = log.before(log.last_day).save(original["log"])
        assert named(again(composed, original["run"])) == f"data fingerprint was {before} and is {shorter.fingerprint}"
    finally:
        EventLog.open(kept).save(original["log"])


def test_other_code_is_reported_and_is_not_a_difference_by_itself(
    original: dict[str, Any], composed: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "commit", lambda: "1234567")
    monkeypatch.setattr(module, "libraries", lambda: load_trained(original["run"]).about["libraries"] | {"torch": "9"})
    result = again(composed, original["run"])
    assert result.differences == [] and [each.name for each in result.environment] == ["commit", "library torch"]


def test_another_device_may_differ_by_the_tolerance_and_needs_an_evaluation(
    original: dict[str, Any], composed: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copied(original, tmp_path)
    trained = load_trained(run)
    config = trained.about["config"]
    elsewhere = config | {"trainer": config["trainer"] | {"accelerator": "auto"}}
    save_trained(run, trained.model, trained.vocabulary, trained.about | {"config": elsewhere})
    (run / "config.yaml").unlink()
    seal_folder(run)
    metrics = json.loads((run / "metrics.json").read_text())
    cell = metrics["models"]["network"]["mean"]["all"]["auc"]
    cell["value"] += 0.001
    (run / "metrics.json").write_text(json.dumps(metrics))
    monkeypatch.setattr(module, "train", lambda config, folder: (trained.model,))
    assert again(composed, run).differences == []
    assert [each.name for each in again(composed, run, "tolerance=0.0005").differences] == ["metric mean/all/auc/value"]
    (run / "metrics.json").unlink()
    with pytest.raises(ConfigurationError, match="was not evaluated; run propensity evaluate"):
        again(composed, run)
