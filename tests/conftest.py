"""Shared fixtures: configurations composed from the real conf/, small enough for seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from small_market import MARKET

from propensity.command import typed
from propensity.config import conf_folder

SMALL = (*MARKET, "data.source.customers=240")
QUICK = (
    "trainer.max_steps=2",
    "trainer.max_epochs=1",
    "training.pairs_per_batch=1024",
    "trainer.enable_progress_bar=false",
    "model.width=8",
    "training.validation=null",  # no search for the length, and no second fit
    "champion=network",
)


@pytest.fixture
def composed() -> Callable[..., Any]:
    """Composes a primary configuration with overrides, as the command line would, into its schema object."""

    def compose_one(name: str, *overrides: str) -> Any:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return typed(compose(name, overrides=list(overrides)))

    return compose_one


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A synthetic event log: its folder, task, log and training set (`examples`)."""
    from hydra.utils import instantiate

    folder = tmp_path_factory.mktemp("world") / "log"
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        cfg = compose("train", overrides=[*SMALL])
    task = instantiate(cfg.data, _convert_="all")
    log = task.prepare(folder)
    return {"folder": folder, "task": task, "log": log, "examples": task.training_set(log)}


@pytest.fixture
def repository() -> Path:
    return conf_folder().parent


def evaluated_run(log: Path, out: Path, end: str, *overrides: str) -> Path:
    """Trains a short run on the log, labels closed by `end`, evaluates it at that cutoff; returns its folder."""
    from propensity.evaluation.evaluate import evaluate_run
    from propensity.training.run import train

    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        train(typed(compose("train", overrides=[*SMALL, *QUICK, f"data.log={log}", f"data.end={end}", f"out={out}"])))
        evaluate_run(
            typed(compose("evaluate", overrides=[f"run={out}", f"cutoffs=[{end}]", *overrides])), lambda text: None
        )
    return out
