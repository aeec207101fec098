"""A champion scores all candidates from one pass, is stored with them, and is the network where it is alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import nn

from conftest import QUICK, SMALL
from propensity.baseline.candidate import Candidate
from propensity.baseline.frequency import Frequency
from propensity.baseline.lightgbm import LightGBM
from propensity.baseline.regression import logistic
from propensity.champion.champion import Champion, alone, fit_champion, validation_pairs
from propensity.champion.choose import STACK
from propensity.command import typed
from propensity.config import conf_folder
from propensity.errors import ConfigurationError, IntegrityError
from propensity.task import TrainingSet, Validation
from propensity.training.predict import predict
from propensity.training.validation import validation_set, windows


class World:
    """A small market with one validation window, a network with its first weights, and a fitted champion."""

    def __init__(self, world: dict[str, Any]) -> None:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            cfg: Any = typed(compose("train", overrides=[*SMALL, *QUICK, "data.log=nowhere"]))
        task, log = world["task"], world["log"]
        chosen = windows(task, log, 1)
        self.training_set: TrainingSet = chosen.task.training_set(log)
        validation = validation_set(chosen, log, self.training_set.vocabulary, None, 1)
        assert validation is not None
        self.validation: Validation = validation
        sizes = task.feature.sizes(self.training_set.vocabulary)
        self.network: nn.Module = instantiate(cfg.model, sizes=sizes).eval()
        self.all_windows: TrainingSet = world["examples"]
        self.champion = fit_champion(self.network, built(), self.training_set, self.validation, seed=3)


def built() -> dict[str, Candidate]:
    return {"lightgbm": LightGBM(rows=20_000, search=False), "frequency": Frequency()}


@pytest.fixture(scope="module")
def world(small_world: dict[str, Any]) -> World:
    return World(small_world)


def test_a_champion_scores_every_candidate_as_it_scores_alone(world: World) -> None:
    cutoff_data = world.validation.cutoffs_data[0]
    scores = world.champion.predict(cutoff_data)
    assert list(scores) == ["frequency", "lightgbm", "network", STACK, "champion"]
    for name, candidate in world.champion.candidates.items():
        np.testing.assert_allclose(scores[name].probability, candidate.predict(cutoff_data).probability, rtol=1e-6)
        np.testing.assert_allclose(scores[name].revenue, candidate.predict(cutoff_data).revenue, rtol=1e-5)
    network = predict(world.network, cutoff_data)
    np.testing.assert_array_equal(scores["network"].probability, network.probability)
    np.testing.assert_array_equal(scores["network"].revenue, network.revenue)


def test_the_champion_has_the_chance_of_its_model_and_the_stacked_amount(world: World) -> None:
    cutoff_data, champion = world.validation.cutoffs_data[0], world.champion
    scores = champion.predict(cutoff_data)
    np.testing.assert_array_equal(scores["champion"].probability, scores[champion.name].probability)
    pairs = validation_pairs(champion.network, champion.candidates, world.validation)
    expected = logistic(champion.stack.logit(pairs.logit, pairs.past)) * champion.stack.amount.amount(pairs.amount)
    np.testing.assert_allclose(scores[STACK].revenue.ravel(), expected, rtol=1e-5)


def test_a_network_with_its_first_weights_is_not_the_champion(world: World) -> None:
    assert world.champion.name != "network" and "log loss" in world.champion.choice.why


def test_a_champion_comes_back_from_its_folder(world: World, tmp_path: Path) -> None:
    world.champion.save(tmp_path)
    again = Champion.load(tmp_path, world.network)
    ours, theirs = (each.predict(world.validation.cutoffs_data[0]) for each in (world.champion, again))
    for name in ours:
        np.testing.assert_array_equal(theirs[name].probability, ours[name].probability)
        np.testing.assert_array_equal(theirs[name].revenue, ours[name].revenue)
    record = json.loads((tmp_path / "champion.json").read_text())
    assert record["champion"] == world.champion.name and record["candidates"]["lightgbm"]["chosen"]["num_leaves"] == 15
    assert {"log_loss", "auc", "normalised_revenue_capture"} < set(record["candidates"][STACK])


def test_a_folder_without_champion_json_is_the_network(world: World, tmp_path: Path) -> None:
    champion = Champion.load(tmp_path, world.network)
    scores = champion.predict(world.validation.cutoffs_data[0])
    assert champion.name == "network" and list(scores) == ["network", "champion"]
    np.testing.assert_array_equal(scores["champion"].revenue, scores["network"].revenue)


def test_the_network_alone_comes_back_from_its_folder(world: World, tmp_path: Path) -> None:
    alone(world.network).save(tmp_path)
    assert Champion.load(tmp_path, world.network).name == "network"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"factor": ', '"factor": -'),
        ('"names": [', '"names": ["oracle",'),
        ('"champion": "', '"champion": "no '),
        ("{", ""),
        ('"intercept": ', '"intercept": 1e999, "was": '),
    ],
)
def test_a_damaged_champion_json_is_one_sentence(world: World, tmp_path: Path, old: str, new: str) -> None:
    world.champion.save(tmp_path)
    path = tmp_path / "champion.json"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(IntegrityError, match=r"champion\.json is damaged or no candidate .*; train again"):
        Champion.load(tmp_path, world.network)


def test_a_named_champion_is_set_whatever_validation_says(world: World) -> None:
    champion = fit_champion(world.network, built(), world.training_set, world.validation, champion="network", seed=3)
    assert champion.name == "network" and "champion=network sets it" in champion.choice.why


def test_without_validation_the_network_is_served(world: World) -> None:
    champion = fit_champion(world.network, built(), world.training_set, None, seed=3)
    assert champion.name == "network" and champion.choice.why == "there is no validation window"
    with pytest.raises(ConfigurationError, match="champion=stack needs validation"):
        fit_champion(world.network, built(), world.training_set, None, champion="stack")


def test_an_unknown_champion_is_refused(world: World) -> None:
    with pytest.raises(ConfigurationError, match="champion=oracle is no candidate; choose one of auto, frequency"):
        fit_champion(world.network, built(), world.training_set, None, champion="oracle")


def test_refit_reads_all_windows_and_keeps_the_choice(world: World) -> None:
    champion = fit_champion(world.network, built(), world.training_set, world.validation, seed=3)
    cutoff_data = world.validation.cutoffs_data[0]
    before = champion.predict(cutoff_data)["frequency"].probability
    again = champion.refit(world.all_windows, world.network, 3)
    assert again.name == champion.name and again.stack == champion.stack
    assert not np.array_equal(again.predict(cutoff_data)["frequency"].probability, before)
