"""Laws of Shapley values by enumeration."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from propensity.explain.shapley import shapley_values

SEEDS = range(6)


def random_game(seed: int, players: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=1 << players)


@pytest.mark.parametrize("seed", SEEDS)
def test_values_add_up_to_the_value_of_all_minus_that_of_none(seed: int) -> None:
    values = random_game(seed)
    assert shapley_values(values).sum() == pytest.approx(values[-1] - values[0], abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_values_are_the_mean_over_all_orders(seed: int) -> None:
    values, players = random_game(seed, 4), range(4)
    mean = np.zeros(4)
    for order in permutations(players):
        coalition = 0
        for player in order:
            mean[player] += (values[coalition | 1 << player] - values[coalition]) / 24
            coalition |= 1 << player
    np.testing.assert_allclose(shapley_values(values), mean, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("player", range(5))
def test_a_player_without_effect_gets_exactly_nothing(seed: int, player: int) -> None:
    values = random_game(seed)
    index = np.arange(values.size)
    values[index | 1 << player] = values[index & ~(1 << player)]
    result = shapley_values(values)
    assert result[player] == 0
    assert np.delete(result, player).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_players_changes_nothing(seed: int) -> None:
    values, order = random_game(seed), np.random.default_rng(seed + 100).permutation(5)
    index = np.arange(values.size)
    moved = np.zeros_like(index)
    for place, player in enumerate(order):
        moved |= (index >> place & 1) << player
    np.testing.assert_allclose(shapley_values(values[moved]), shapley_values(values)[order], atol=1e-12)


def test_players_of_equal_effect_get_equal_values() -> None:
    size = np.array([bin(index).count("1") for index in range(32)])
    np.testing.assert_allclose(shapley_values(np.sqrt(size)), np.sqrt(5) / 5, atol=1e-12)


def test_a_game_without_players_has_no_values() -> None:
    assert shapley_values(np.array([0.3])).size == 0
