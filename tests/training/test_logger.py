"""Every logger in conf/logger works without a network or a login; a missing package is one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import QUICK, SMALL
from propensity.config import conf_folder
from propensity.errors import ConfigurationError
from propensity.training import settings
from propensity.training.run import train
from propensity.training.settings import PACKAGES, installed
from propensity.training.track import FILE

WRITTEN = {
    "csv": "log/metrics.csv",
    "wandb": "wandb/offline-run-*/run-*.wandb",
    "mlflow": "mlruns/*",
    "tensorboard": "tensorboard/events.*",
    "none": "config.yaml",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in (conf_folder() / "logger").glob("*.yaml")))
def test_a_logger_needs_no_network(
    name: str,
    small_world: dict[str, Any],
    composed: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("WANDB_API_KEY", "WANDB_MODE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    options = [*SMALL, *QUICK, "trainer.max_steps=12", "training.pairs_per_batch=256", f"logger={name}"]
    config = composed("train", *options, f"data.log={small_world['folder']}", f"out={tmp_path / 'run'}")
    for part in config.logger.values():
        if not installed(part["_target_"]):
            pytest.skip(f"{name} is not installed")
    train(config)
    assert (tmp_path / "run/model.ckpt").is_file()
    assert list((tmp_path / "run").glob(WRITTEN[name]))
    if name == "wandb":
        assert list(json.loads((tmp_path / "run" / FILE).read_text())) == ["wandb"]


@pytest.mark.parametrize("name", ["wandb", "mlflow", "tensorboard"])
def test_a_logger_whose_package_is_missing_is_named(
    name: str, composed: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "find_spec", lambda package: None)
    config = composed("train", *SMALL, f"logger=[csv,{name}]", f"out={tmp_path}")
    package = PACKAGES[config.logger[name]["_target_"]][0]
    with pytest.raises(ConfigurationError, match=f"logger.{name} needs the package {package}; pip install {package}"):
        train(config)
