"""Every logger in conf/training/logger works without a network or a login, and asks nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import QUICK, SMALL
from propensity.config import conf_folder
from propensity.training.run import train


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in (conf_folder() / "training/logger").glob("*.yaml")))
def test_a_logger_needs_nobody(
    name: str,
    small_world: dict[str, Any],
    composed: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(variable, raising=False)
    options = [*SMALL, *QUICK, "training.max_steps=12", "training.pairs_per_batch=256", f"training/logger={name}"]
    train(composed("train", *options, f"data.log={small_world['folder']}", f"out={tmp_path / 'run'}"))
    assert (tmp_path / "run/model.ckpt").is_file()
    logged = {"csv": "log/metrics.csv", "wandb": "wandb/offline-run-*/run-*.wandb", "none": "config.yaml"}
    assert list((tmp_path / "run").glob(logged[name]))
