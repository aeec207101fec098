"""Laws of the synthetic market: it is reproducible, independent of its size, and consistent with its truth."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from propensity.errors import ConfigurationError
from propensity.ingest.source.synthetic import Synthetic
from propensity.simulate.catalogue import YEAR, season_factor
from propensity.simulate.customer import DORMANT, NEW, WEEK
from propensity.simulate.simulate import State, simulate, simulate_day
from propensity.simulate.truth import forecast

SMALL = Synthetic(customers=300, items=40, categories=8, days=120)


def events(market: Synthetic) -> pl.DataFrame:
    """The events with their category."""
    tables = market.load()
    assert tables.items is not None
    return tables.events.join(tables.items, on="item", how="left", maintain_order="left").collect()


def outcome(market: Synthetic, cutoff: date, horizon: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simulated outcomes: bought (N, M), revenue (N, M) and visited (N,)."""
    future = events(market).filter(pl.col("day") >= cutoff, pl.col("day") < cutoff + timedelta(days=horizon))
    visited = np.zeros(market.customers, bool)
    visited[future.filter(pl.col("kind").is_in(["purchase", "view"]))["customer"].to_numpy()] = True
    sold = future.filter(pl.col("kind") == "purchase")
    revenue = np.zeros((market.customers, market.categories))
    cell = sold["customer"].to_numpy(), market.catalogue().category[sold["item"].to_numpy()]
    np.add.at(revenue, cell, sold["revenue"].to_numpy())
    bought = np.zeros(revenue.shape, bool)
    bought[cell] = True
    return bought, revenue, visited


def deviation(surplus: np.ndarray, variance: float = 0.0) -> float:
    """Deviation from the expectation in standard errors, clustered by customer."""
    per_customer = surplus.reshape(surplus.shape[0], -1).sum(axis=1)
    return abs(per_customer.sum()) / np.sqrt(max((per_customer**2).sum(), variance, 1e-12))


def test_the_same_seed_gives_the_same_tables() -> None:
    first, second = SMALL.load(), replace(SMALL).load()
    for one, other in zip(first[:3], second[:3], strict=True):
        assert one is not None and other is not None
        assert_frame_equal(one, other)
    assert first.read == first.events.collect().height
    assert not replace(SMALL, seed=18).load().events.collect().equals(first.events.collect())


def test_the_first_customers_of_a_larger_market_are_those_of_a_smaller_one() -> None:
    large = replace(SMALL, customers=1500)
    assert_frame_equal(large.load().events.filter(pl.col("customer") < 300), SMALL.load().events)
    few, many = SMALL.truth("2024-03-01", 7), large.truth("2024-03-01", 7)
    np.testing.assert_array_equal(many.probability[:300], few.probability)


def test_events_left_in_a_folder_are_the_events_in_memory(tmp_path) -> None:
    market = replace(SMALL, customers=1500)
    left = replace(market, folder=str(tmp_path / "events")).load()
    assert_frame_equal(left.events, market.load().events)
    assert left.read == market.load().read


@pytest.mark.parametrize(
    ("cutoff", "strengths"),
    [
        (date(2025, 1, 15), {}),
        (date(2024, 7, 3), {"order_effect": 4.0, "messages": 0.6, "message_effect": 2.0}),
        (date(2024, 3, 1), {"order_effect": 2.0, "season_strength": 2.0, "messages": 0.0, "basket": 1.0}),
    ],
)
def test_what_happens_agrees_with_the_truth(cutoff: date, strengths: dict[str, Any]) -> None:
    market = replace(Synthetic(customers=3000, items=60, categories=12), **strengths)
    truth = market.truth(cutoff, 21)
    bought, revenue, visited = outcome(market, cutoff, 21)
    surplus = bought - truth.probability
    for low, high in ((0.0, 0.01), (0.01, 0.05), (0.05, 0.2), (0.2, 0.5), (0.5, 1.01)):
        inside = (truth.probability >= low) & (truth.probability < high)
        chance = (inside * truth.probability * (1.0 - truth.probability)).sum()
        assert inside.sum() > 100
        assert deviation(surplus * inside, chance) < 4.0
    for columns in (market.catalogue().trigger, market.catalogue().target):
        assert deviation(surplus[:, columns]) < 4.0
    assert deviation(revenue - truth.expected_revenue) < 4.0
    assert deviation(visited - truth.visit) < 4.0


def futures(market: Synthetic, t: int, horizon: int, times: int) -> tuple[np.ndarray, np.ndarray]:
    """Purchases minus true probabilities in `times` simulated futures from the state at `t`: (groups, times), and the
    number of cells of each group.

    Groups: all cells, targets, targets whose trigger was in the last basket, cells with an active message, and the
    cells that are neither targets nor have a message.
    """
    catalogue = market.catalogue()
    customers, start, _ = simulate(market, catalogue, 0, t)
    probability, _, _ = forecast(market, catalogue, customers, start, t, horizon)
    target, triggered, messaged = (np.zeros(probability.shape, bool) for _ in range(3))
    target[:, catalogue.target] = True
    triggered[:, catalogue.target] = start.triggered
    messaged[start.topic >= 0, start.topic[start.topic >= 0]] = True
    groups = np.stack([np.ones_like(target), target, triggered, messaged, ~target & ~messaged])
    surplus = np.zeros((len(groups), times))
    for k in range(times):
        state = State._make(column.copy() for column in start)
        for h in range(t, t + horizon):
            simulate_day(np.random.default_rng([k, h]), market, catalogue, customers, state, h)
        surplus[:, k] = (groups * ((state.last >= t) - probability)).sum(axis=(1, 2))
    return surplus, groups.sum(axis=(1, 2))


@pytest.mark.parametrize("horizon", [1, 10])
def test_the_truth_is_the_average_of_many_futures(horizon: int) -> None:
    market = Synthetic(items=12, categories=6, order_effect=8.0, messages=0.9, message_effect=6.0, dormant_share=0.0)
    surplus, cells = futures(market, 150, horizon, times=150)
    assert (cells > 50).all()
    error = surplus.std(axis=1, ddof=1) / np.sqrt(surplus.shape[1])
    assert (np.abs(surplus.mean(axis=1)) < 4.0 * error).all(), surplus.mean(axis=1) / error


def test_a_longer_horizon_never_makes_a_purchase_less_likely() -> None:
    near, far = SMALL.truth("2024-03-01", 1), SMALL.truth("2024-03-01", 28)
    assert (far.probability >= near.probability).all()
    assert (far.expected_revenue >= near.expected_revenue).all()
    assert (near.probability <= near.visit[:, None]).all()


def test_two_in_a_hundred_dormant_customers_visit_in_a_week() -> None:
    market = Synthetic(customers=3000, items=30, categories=5, days=560)
    dormant = np.flatnonzero(market.all_customers().regime == DORMANT)
    assert abs(dormant.size / 3000 - market.dormant_share) < 0.04
    first = date.fromisoformat(market.start) + timedelta(days=190)  # 364 days, all after the last lapse
    visits = events(market).filter(
        pl.col("kind").is_in(["purchase", "view"]),
        pl.col("day") >= first,
        pl.col("day") < first + timedelta(days=364),
        pl.col("customer").is_in(dormant.tolist()),
    )
    weeks = visits.select("customer", ((pl.col("day") - first).dt.total_days() // 7)).unique().height
    assert abs(weeks / (dormant.size * 52) - 0.02) < 0.002


def test_seasons_peak_where_the_market_says() -> None:
    calm: dict[str, Any] = {"dormant_share": 0.0, "new_share": 0.0}
    market = Synthetic(customers=2000, items=30, categories=6, days=365 + 731, season_strength=2.0, **calm)
    catalogue, first = market.catalogue(), market.epoch_day(365)  # the first year is burn-in
    sold = events(market).filter(pl.col("kind") == "purchase").with_columns(pl.col("day").to_physical() - first)
    year = first + np.arange(731)
    visits = 1.0 + 0.2 * np.cos(2 * np.pi * (year - 349) / YEAR)  # divides out the yearly season of visits
    for m in np.flatnonzero(catalogue.season_amplitude > 0.5):
        when = sold.filter(pl.col("category") == market.category_names()[m], pl.col("day") >= 0)["day"].to_numpy()
        wave = np.sum(np.bincount(when, minlength=731) / visits * np.exp(2j * np.pi * year / YEAR))
        apart = (np.angle(wave) / (2 * np.pi) * YEAR - catalogue.season_peak[m] + YEAR / 2) % YEAR - YEAR / 2
        assert abs(apart) < 12, f"category {m} peaks {apart:.0f} days off"


def test_a_season_has_mean_one_and_its_maximum_at_the_peak() -> None:
    catalogue = Synthetic().catalogue()
    year = np.stack([season_factor(catalogue, day) for day in range(1461)])
    np.testing.assert_allclose(year.mean(axis=0), 1.0, atol=1e-3)
    apart = (year[:366].argmax(axis=0) - catalogue.season_peak + YEAR / 2) % YEAR - YEAR / 2
    assert np.abs(apart).max() <= 1.0


def test_no_event_precedes_the_launch_of_its_item_or_the_joining_of_its_customer() -> None:
    market = replace(SMALL, new_item_share=0.5, new_share=0.4)
    tables = market.load()
    assert tables.items is not None and tables.customers is not None
    seen = tables.events.join(tables.items, on="item").join(tables.customers, on="customer").collect()
    assert (market.catalogue().launch > 0).sum() > 5
    assert (seen["day"] >= seen["?known"]).all()
    assert (seen["day"] >= seen["joined"]).all()
    assert (market.all_customers().joined[market.all_customers().regime == NEW] > 0).all()


def test_the_planted_order_effect_raises_targets_and_nothing_else() -> None:
    plain, planted = SMALL, replace(SMALL, order_effect=5.0)
    baskets = [
        events(market).filter(pl.col("kind") == "purchase").select("customer", "day", "category").sort(pl.all())
        for market in (plain, planted)
    ]
    targets = [SMALL.category_names()[m] for m in SMALL.catalogue().target]
    other = ~pl.col("category").is_in(targets)
    assert_frame_equal(baskets[0].filter(other), baskets[1].filter(other))
    assert baskets[1].height > 1.05 * baskets[0].height


def test_returns_mirror_a_purchase_and_messages_cost_nothing() -> None:
    history = events(replace(SMALL, returns=0.2))
    back = history.filter(pl.col("kind") == "return")
    bought = history.filter(pl.col("kind") == "purchase")
    assert back.height > 0 and (back["quantity"] < 0).all() and (back["revenue"] < 0).all()
    mirrored = back.with_columns(-pl.col("quantity"), -pl.col("revenue"))
    assert mirrored.join(bought, on=["customer", "item", "quantity", "revenue"], how="anti").is_empty()
    messages = history.filter(pl.col("kind") == "message")
    assert messages["item"].is_null().any() and messages["item"].is_not_null().any()
    assert (messages["revenue"] == 0).all()
    assert history.filter(pl.col("kind") != "message")["item"].null_count() == 0


def test_every_kind_of_week_has_the_same_number_of_visits() -> None:
    np.testing.assert_allclose(WEEK.sum(axis=1), 7.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"items": 3}, "data.source.items=3 is too small; use 8 or more"),
        ({"messages": 1.5}, "data.source.messages=1.5 is not a share; use a value from 0 to 1"),
        ({"start": "soon"}, "data.source.start=soon is not a date; use one such as 2024-01-01"),
        ({"basket": float("nan")}, "data.source.basket=nan is too small; use 0.01 or more"),
    ],
)
def test_settings_outside_their_range_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        replace(SMALL, **change)


def test_the_truth_is_refused_outside_the_simulated_days() -> None:
    with pytest.raises(
        ConfigurationError, match="no truth at cutoff=2023-12-31, horizon=7; the market covers 120 days"
    ):
        SMALL.truth("2023-12-31", 7)
