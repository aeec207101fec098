"""A training from an earlier run: blind to what lies past its end, decided by its inputs, refused by rule."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hydra import compose, initialize_config_dir

from conftest import QUICK, SMALL
from propensity.command import typed
from propensity.config import TrainConfig, conf_folder
from propensity.data.cutoff import Cutoff
from propensity.data.event_log import EventLog, to_date, to_day
from propensity.errors import ConfigurationError
from propensity.nightly.challenge import compare
from propensity.training import run, warm
from propensity.training.checkpoint import load_trained
from propensity.training.module import PropensityModule
from propensity.training.run import train
from propensity.training.warm import Warm, reason_for_scratch, training_record

BOTH = ("champion=auto", "baselines=[frequency,logistic]", "training.validation=1")
BYTES = ("model.ckpt", "training.json", "champion.json", "candidates/logistic/logistic.npz")


def config(world: dict[str, Any], out: Path, back: int, *more: str) -> TrainConfig:
    """A training whose labels close so many days before the end of the log."""
    end = to_date(world["log"].last_day + 1 - back)
    place = (f"data.log={world['folder']}", f"data.end={end}", f"out={out}")
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        made: TrainConfig = typed(compose("train", overrides=[*SMALL, *QUICK, *BOTH, *place, *more]))
    return made


@pytest.fixture(scope="module")
def first(small_world: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from random weights, with labels up to eight weeks before the end of the log."""
    out = tmp_path_factory.mktemp("first") / "run"
    train(config(small_world, out, 56))
    return out


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in BYTES}


def test_nothing_dated_at_or_after_the_end_reaches_a_warm_training(
    small_world: dict[str, Any], first: Path, tmp_path: Path
) -> None:
    log: EventLog = small_world["log"]
    later, rng = log.day >= log.last_day + 1 - 28, np.random.default_rng(0)
    columns = {name: np.array(getattr(log, name)) for name in ("item", "revenue", "quantity")}
    for name in columns:
        columns[name][later] = rng.permutation(columns[name][later])
    fields = {name: getattr(log, name) for name in log.__dataclass_fields__} | columns
    assert EventLog(**fields).save(tmp_path / "log").fingerprint != log.fingerprint
    train(config(small_world, tmp_path / "a", 28, f"warm={first}"))
    train(config(small_world, tmp_path / "b", 28, f"warm={first}", f"data.log={tmp_path / 'log'}"))
    ours, theirs = (load_trained(tmp_path / name) for name in "ab")
    assert all(torch.equal(value, theirs.model.state_dict()[name]) for name, value in ours.model.state_dict().items())
    assert ours.about["examples"] == theirs.about["examples"] and ours.vocabulary == theirs.vocabulary
    for name in BYTES[1:]:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    before = load_trained(first).model.state_dict()
    assert not all(torch.equal(value, before[name]) for name, value in ours.model.state_dict().items())


@pytest.mark.parametrize("moment", ["epoch", "end"])
def test_a_warm_training_that_is_interrupted_or_repeated_gives_the_same_bytes(
    moment: str, small_world: dict[str, Any], first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = config(small_world, tmp_path / "run", 28, f"warm={first}", "logger=none", "training.pairs_per_batch=2048")
    train(cfg)
    whole = files(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    step = PropensityModule.training_step

    def falters(module: PropensityModule, *batch: Any) -> Any:
        if module.current_epoch == 1:
            raise RuntimeError("the power went out")
        return step(module, *batch)

    def fails(*_: Any) -> None:
        raise RuntimeError("the power went out")

    with monkeypatch.context() as patched:
        if moment == "epoch":
            patched.setattr(PropensityModule, "training_step", falters)
        else:
            patched.setattr(run, "finish", fails)
        with pytest.raises(RuntimeError, match="power"):
            train(cfg)
    train(cfg)
    assert files(tmp_path / "run") == whole


def test_candidates_are_weighed_on_windows_that_none_of_them_has_seen(
    small_world: dict[str, Any], first: Path, tmp_path: Path
) -> None:
    train(config(small_world, tmp_path / "later", 28, f"warm={first}"))
    train(config(small_world, tmp_path / "soon", 52, f"warm={first}"))  # the last window reaches into its labels
    before, later, soon = (
        json.loads((folder / "champion.json").read_text()) for folder in (first, tmp_path / "later", tmp_path / "soon")
    )
    assert soon == before and later["weights"] != before["weights"]
    for name in ("frequency/frequency.json", "logistic/logistic.npz"):
        kept = (first / "candidates" / name).read_bytes()
        assert (tmp_path / "later" / "candidates" / name).read_bytes() == kept


def test_a_warm_training_reads_the_new_windows_and_as_many_old_ones(first: Path) -> None:
    trained = load_trained(first)
    last = to_day(trained.about["cutoffs"][-1])
    run = Warm(trained, None, 2.0, 1)  # type: ignore[arg-type]
    closed = [Cutoff(last + 7 * k, 14) for k in range(-9, 5)]
    assert (run.cutoffs(closed), run.cutoffs(closed[:-4]), run.cutoffs(closed[-3:])) == (8, 2, 3)
    assert run.steps(100) == round(warm.SHARE * 2.0 * 100) and run.steps(1) == warm.FEWEST
    assert run.optimizer({"lr": 3.0, "weight_decay": 0.1}) == {"lr": 3.0 * warm.RATE, "weight_decay": 0.1}


def test_a_run_is_no_start_for_other_settings_new_offers_other_columns_or_a_long_chain(
    small_world: dict[str, Any], first: Path, tmp_path: Path
) -> None:
    def reason(*more: str, folder: Path = first, log: EventLog | None = None) -> str | None:
        place = () if log is None else (f"data.log={log.save(tmp_path / f'log-{log.fingerprint}').folder}",)
        return reason_for_scratch(folder, config(small_world, tmp_path / "x", 28, *place, *more))

    assert reason() is None
    assert reason("model.width=16") == "model was changed"
    assert reason("data.horizon=7") == "data.horizon was changed"
    assert reason("champion=network") == "champion was changed"
    with pytest.raises(ConfigurationError, match="was trained with another model, so its weights do not fit"):
        train(config(small_world, tmp_path / "x", 28, f"warm={first}", "model.width=16"))

    log: EventLog = small_world["log"]
    items = log.items.with_columns(size=pl.Series([f"size_{k % 2}" for k in range(log.items.height)]))
    assert reason(log=replace(log, items=items)) == "size came or went as columns of the items"
    renamed = pl.when(pl.col("category") == "category_000").then(pl.lit("new")).otherwise(pl.col("category"))
    found = reason(log=replace(log, items=log.items.with_columns(category=renamed.cast(log.items["category"].dtype))))
    assert found is not None and re.fullmatch(
        r"offers that the last .* have [\d.]+% of the buyers, more than 2%", found
    )

    chain = tmp_path / "chain"
    shutil.copytree(first, chain)
    (chain / "training.json").write_text(json.dumps(training_record(first) | {"generation": warm.GENERATIONS}))
    assert reason(folder=chain) == "3 trainings have followed the last one from scratch"


@pytest.mark.slow
def test_a_chain_of_warm_trainings_is_level_with_training_from_scratch(
    small_world: dict[str, Any], tmp_path: Path
) -> None:
    longer = ("trainer.max_steps=150", "trainer.max_epochs=null")
    train(config(small_world, tmp_path / "0", 98, *longer))
    for generation, back in ((1, 70), (2, 42), (3, 14)):
        train(config(small_world, tmp_path / str(generation), back, f"warm={tmp_path / str(generation - 1)}", *longer))
    train(config(small_world, tmp_path / "scratch", 14, *longer))
    log: EventLog = small_world["log"]
    cutoff = to_date(log.last_day + 1 - 14).isoformat()
    result = compare(tmp_path / "scratch", tmp_path / "3", log, cutoff, ("auc", "log_loss"), 200)
    assert training_record(tmp_path / "3")["generation"] == 3
    assert {name: row["verdict"] for name, row in result["metrics"].items()} == {"auc": "tie", "log_loss": "tie"}
    before = compare(tmp_path / "scratch", tmp_path / "0", log, cutoff, ("auc",), 200)["metrics"]["auc"]
    assert before["challenger"] > 0.6
