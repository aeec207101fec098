"""Words of reasons: every group has a sentence for every customer, and the sentence has the customer's values."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from propensity.explain.coalition import column_masks
from propensity.explain.reasons import Reasons, effect
from propensity.feature.column import BLOCKS, BUILT_IN, FeatureColumn
from propensity.feature.features import FeatureConfig
from propensity.feature.reason import REASONS, PairFacts
from propensity.kernel.column import Block, ReasonName

CONFIG = FeatureConfig(attributes=("age",))
COLUMNS: list[tuple[Block, str]] = [(block, each.name) for block in BLOCKS for each in CONFIG.columns[block]]


def facts(values: Mapping[tuple[Block, str], float], raises: bool = True) -> PairFacts:
    return PairFacts("tea", values, raises, companions=["milk", "sugar"] if raises else [])


def test_every_built_in_column_belongs_to_a_group_with_words() -> None:
    for block in BLOCKS:
        for column in BUILT_IN[block]:
            assert column.reason in REASONS and column.reason != "own", column.name
    assert {column.reason for block in BLOCKS for column in CONFIG.columns[block]} == set(REASONS) - {"own"}


@pytest.mark.parametrize("name", REASONS)
@pytest.mark.parametrize("value", [0.0, 1.0, 2.4, 1000.0, math.nan, -0.3])
@pytest.mark.parametrize("raises", [True, False])
def test_every_group_has_one_plain_sentence_for_any_values(name: ReasonName, value: float, raises: bool) -> None:
    sentence = REASONS[name].words(facts(dict.fromkeys(COLUMNS, value), raises))
    assert re.fullmatch(r"[A-Z][^\n]*[^.\s]\.", sentence), sentence
    assert not re.search(r"nan|inf|_|None", sentence), sentence


@pytest.mark.parametrize("seed", range(40))
def test_every_group_has_a_sentence_for_random_values(seed: int) -> None:
    random = np.random.default_rng(seed)
    values = {key: float(random.choice([np.nan, 0, 1, random.exponential(20)])) for key in COLUMNS}
    for group in REASONS.values():
        assert group.words(facts(values, bool(seed % 2))).endswith(".")


def pair(**values: float) -> dict[tuple[Block, str], float]:
    return {("pair", name): value for name, value in values.items()}


EVERY_WEEK = pair(recency=12, interpurchase_time=7)
ANSWERED: dict[tuple[Block, str], float] = {("customer", "messages_182"): 4.0, ("customer", "response"): 0.5}
REGISTERED: dict[tuple[Block, str], float] = {
    ("customer", "registrant"): 1.0,
    ("customer", "registrant_age"): 12.0,
    ("customer", "registrant_views_91"): 2.0,
}
SENTENCES: list[tuple[ReasonName, Mapping[tuple[Block, str], float], str]] = [
    ("frequency", pair(purchase_days=0), "Never bought tea."),
    ("frequency", pair(purchase_days=3, days_91=3), "Bought tea three times in the last 91 days."),
    ("frequency", pair(purchase_days=14, days_91=1), "Bought tea once in the last 91 days, 14 times in all."),
    ("frequency", pair(purchase_days=2, days_91=0), "Bought tea twice in all, but not in the last 91 days."),
    ("recency", EVERY_WEEK, "Last bought tea 12 days ago, and usually buys it every seven days."),
    ("recency", pair(recency=1), "Bought tea on one day only, yesterday."),
    ("recency", {}, "There is no earlier purchase of tea that tells when the next one is due."),
    (
        "similar",
        pair(neighbours_middle=0.25),
        "Of the customers with the most similar purchases, 25 % bought tea in the last 56 days.",
    ),
    ("person", {("customer", "registrant"): 0.0}, "Has bought before."),
    (
        "person",
        REGISTERED,
        "Registered 12 days ago and has not bought anything yet; viewed two items in the last 91 days.",
    ),
    ("companions", {}, "Bought milk and sugar, which customers often buy together with tea."),
    (
        "popularity",
        {("context", "reach_91"): math.log(0.5)},
        "Of all customers, 50 % bought tea in the last 91 days.",
    ),
    (
        "season",
        {("context", "last_year"): math.log(1.5)},
        "In the same weeks of last year, tea sold 50 % more compared with the weeks around them.",
    ),
    (
        "price",
        pair(spend_mean=2.5, discount_share=0.2),
        "Spends 2.50 on tea per purchase, after discounts of 20 %.",
    ),
    (
        "messages",
        ANSWERED,
        "Received four messages in the last 182 days and bought within a week after two of them.",
    ),
]


@pytest.mark.parametrize("values", [pair(spend_mean=2.5), {("context", "price"): 2.5}])
def test_amounts_have_the_currency_that_the_log_knows(values: Mapping[tuple[Block, str], float]) -> None:
    words = REASONS["price"].words
    assert "2.50 EUR on tea" in words(facts(values)._replace(currency="EUR"))
    assert "2.50 on tea" in words(facts(values))


@pytest.mark.parametrize(("name", "values", "sentence"), SENTENCES)
def test_sentences_give_the_values(name: ReasonName, values: Mapping[tuple[Block, str], float], sentence: str) -> None:
    assert REASONS[name].words(facts(values)) == sentence


def test_the_largest_reasons_come_first_and_those_without_effect_are_left_out() -> None:
    contribution: dict[ReasonName, float] = {"price": 0.0, "season": -0.5, "recency": 0.2, "frequency": 1.0}
    reasons = Reasons(-2.0, -1.3, contribution, facts({}))
    assert [each.name for each in reasons.largest()] == ["frequency", "season", "recency"]
    assert [each.name for each in reasons.largest(1)] == ["frequency"]
    assert reasons.carried(1) == pytest.approx(1.0 / 1.7)
    assert reasons.left(1) == pytest.approx(-0.3)


@pytest.mark.parametrize("contribution", [-9.0, -0.8, -0.2, 0.0, 0.2, 0.8, 9.0])
def test_the_effect_has_the_direction_of_the_contribution(contribution: float) -> None:
    words = effect(contribution)
    up, down = words.startswith(("raises", "multiplies")), words.startswith("lowers")
    assert (up, down) == (contribution > 0.1, contribution < -0.1)


def test_the_columns_of_a_group_follow_the_declaration_of_a_plug_in() -> None:
    def nothing(known: object) -> np.ndarray:
        raise NotImplementedError

    own = FeatureColumn("mood", "mood of the day", "customer", compute=nothing, reference=nothing)
    priced = replace(own, name="rebate", reason="price")
    config = FeatureConfig(extra=(own, priced))
    masks = column_masks(config)
    assert [config.customer[k] for k in np.flatnonzero(masks["own"]["customer"])] == ["mood"]
    assert config.customer.index("rebate") in np.flatnonzero(masks["price"]["customer"])
    for block in BLOCKS:  # every column belongs to exactly one group
        assert (np.sum([mask[block] for mask in masks.values()], axis=0) == 1).all()
    known = PairFacts("tea", {("customer", "mood"): 0.7}, meanings={("customer", "mood"): own.meaning})
    assert REASONS["own"].words(known) == "Columns of your own: mood of the day: 0.7."
