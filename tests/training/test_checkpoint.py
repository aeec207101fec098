"""A checkpoint gives back the same network, and nothing that could harm whoever opens it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import QUICK, SMALL
from propensity.errors import ConfigurationError, DataError, IntegrityError
from propensity.training.checkpoint import FILE, load_trained
from propensity.training.predict import predict
from propensity.training.run import train


@pytest.fixture
def run(small_world: dict[str, Any], composed: Callable[..., Any], tmp_path: Path) -> Path:
    cfg = composed("train", *SMALL, *QUICK, f"data.log={small_world['folder']}", f"out={tmp_path / 'run'}")
    train(cfg)
    return tmp_path / "run"


def test_a_loaded_network_gives_the_same_scores_in_any_block(small_world: dict[str, Any], run: Path) -> None:
    trained = load_trained(run)
    cutoff_data = small_world["examples"].cutoffs_data[-1]
    whole = predict(trained.model, cutoff_data)
    pieces = predict(load_trained(run).model, cutoff_data, pairs=50)
    np.testing.assert_allclose(whole.probability, pieces.probability, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(whole.revenue, pieces.revenue, rtol=1e-4, atol=1e-6)
    assert trained.vocabulary == small_world["examples"].vocabulary
    assert (run / "config.yaml").is_file() and not (run / "progress").exists()


def test_a_checkpoint_holds_plain_containers(run: Path) -> None:
    content = torch.load(run / FILE, weights_only=True)
    assert type(content["about"]["config"]) is dict
    assert content["about"]["cutoffs"] == sorted(content["about"]["cutoffs"])


def test_a_pickle_in_its_place_is_not_opened(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "harmed",))

    torch.save({"format": 2, "state": Harm()}, tmp_path / FILE)
    with pytest.raises(IntegrityError, match="more than plain data"):
        load_trained(tmp_path)
    (tmp_path / FILE).write_bytes(pickle.dumps(Harm()))
    with pytest.raises((IntegrityError, DataError)):
        load_trained(tmp_path)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    "target", ["os.system", "propensity.data.event_log.np.load", "propensity.training.run.train", "propensity.nowhere"]
)
def test_a_foreign_target_is_not_called(run: Path, target: str) -> None:
    content = torch.load(run / FILE, weights_only=True)
    content["about"]["config"]["model"]["_target_"] = target
    torch.save(content, run / FILE)
    with pytest.raises(
        IntegrityError, match=f"asks for {target}, which (is not ours to call|does not exist); train again"
    ):
        load_trained(run)


def test_weights_of_another_shape_are_refused(run: Path) -> None:
    content = torch.load(run / FILE, weights_only=True)
    content["about"]["config"]["model"]["width"] = 16
    torch.save(content, run / FILE)
    with pytest.raises(DataError, match="holds weights of another shape of network, by other code; train again"):
        load_trained(run)


def test_what_is_missing_or_cut_short_is_said(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no checkpoint at .*; train one with propensity train"):
        load_trained(tmp_path / "nowhere")
    whole = (run / FILE).read_bytes()
    for size in (0, 10, len(whole) // 2):
        (run / FILE).write_bytes(whole[:size])
        with pytest.raises((DataError, IntegrityError), match="train again"):
            load_trained(run)
    torch.save({"format": 99}, run / FILE)
    with pytest.raises(DataError, match="no checkpoint of format 2"):
        load_trained(run)
