"""Laws of offers: sets of items by column or filter, renumbered when some are taken, on sale when enough buy them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from propensity.data.cutoff import Cutoff
from propensity.data.event_log import EventLog
from propensity.data.offer import OfferConfig, active_offers, count_buyers, offers_before
from propensity.data.offer.column import ColumnOffers
from propensity.data.offer.filter import FilterOffers
from propensity.errors import ConfigurationError
from propensity.kernel.event import PURCHASE
from random_log import membership, random_log, random_offers

OVERLAPPING = {"own": "brand = 'own'", "dear": "price > 5", "own and dear": "brand = 'own' and price > 5"}


def test_a_column_makes_one_offer_of_each_value_and_leaves_items_without_one() -> None:
    log = random_log(0)
    offers = ColumnOffers("category").all(log)
    assert offers.name == ("category 0", "category 1", "category 2", "category 3")
    expected = np.stack([(log.items["category"] == name).fill_null(False).to_numpy() for name in offers.name], axis=1)
    np.testing.assert_array_equal(membership(offers), expected)
    assert (expected.sum(axis=1) == 0).any()


def test_filters_make_offers_in_their_order_and_may_overlap() -> None:
    log = random_log(0)
    offers = FilterOffers(OVERLAPPING).all(log)
    assert offers.name == ("own", "dear", "own and dear")
    own, dear = (log.items["brand"] == "own").to_numpy(), (log.items["price"] > 5).to_numpy()
    np.testing.assert_array_equal(membership(offers), np.stack([own, dear, own & dear], axis=1))


SHELVES = pl.DataFrame(
    {
        "item": list("abcdefgh"),
        "kind": ["p1", "p1", "p2", "p2", "q1", "q1", "r1", None],
        "aisle": ["p", "p", "p", None, "q", "q", "r", "r"],  # joins whole kinds, by a value or another
        "hall": ["x", "x", "x", "x", "x", "x", "y", "y"],  # joins them too, but more of them
        "brand": ["own", "dear", "own", "dear", "own", "dear", "own", "own"],  # cuts across kinds
        "size": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8],  # a measurement
    }
)


@pytest.mark.parametrize(
    ("config", "siblings"),
    [
        (ColumnOffers("kind"), [{0, 1}, {2}, {3}]),  # the aisle: finest of what joins whole kinds
        (ColumnOffers("kind", parent="hall"), [{0, 1, 2}, {3}]),
        (ColumnOffers("kind", prefix=1), [{0, 1}, {2}, {3}]),
        (ColumnOffers("kind", prefix=2), [{0}, {1}, {2}, {3}]),
    ],
)
def test_siblings_share_the_finest_column_that_joins_whole_offers_or_the_configured_one(
    config: ColumnOffers, siblings: list[set[int]]
) -> None:
    log = replace(random_log(0), items=SHELVES.with_columns(aisle=pl.col("aisle").fill_null("p")))
    parent = config.parents(log.items, config.all(log))
    assert [set(np.flatnonzero(parent == number)) for number in np.unique(parent)] == siblings


def test_filters_and_offers_that_no_column_joins_have_no_siblings() -> None:
    log = replace(random_log(0), items=SHELVES.select("item", "kind", "brand", "size"))
    config = ColumnOffers("kind")
    assert (config.parents(log.items, config.all(log)) == -1).all()
    own = FilterOffers({"own": "brand = 'own'", "dear": "brand = 'dear'"})
    assert (own.parents(log.items, own.all(log)) == -1).all()


def test_a_missing_value_counts_as_disagreement() -> None:
    """One of seven items of an offer has no aisle, so fewer than nine in ten agree."""
    log = replace(random_log(0), items=SHELVES.select("item", "kind", "aisle"))
    config = ColumnOffers("kind")
    assert (config.parents(log.items, config.all(log)) == -1).all()


def test_a_missing_value_does_not_match_a_filter() -> None:
    log = random_log(0)
    offers = FilterOffers({"not first": "category <> 'category 0'"}).all(log)
    expected = (log.items["category"] != "category 0").fill_null(False).to_numpy()
    np.testing.assert_array_equal(membership(offers)[:, 0], expected)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            ColumnOffers("shelf"),
            "items have no column 'shelf'; set data.offer.column to one of: category, brand, price, item",
        ),
        (
            ColumnOffers("category", parent="shelf"),
            "items have no column 'shelf'; set data.offer.parent to one of: category, brand, price, item",
        ),
        (ColumnOffers("empty"), "item column 'empty' has no values; choose another data.offer.column"),
        (FilterOffers({}), "data.offer.filters is empty; name at least one filter"),
        (FilterOffers({"odd": "shelf = 1"}), r"data.offer.filters.odd='shelf = 1' cannot be applied \(.*shelf"),
        (FilterOffers({"odd": "brand is"}), r"data.offer.filters.odd='brand is' cannot be applied \("),
        (FilterOffers({"odd": "brand > 3"}), r"data.offer.filters.odd='brand > 3' (cannot be applied|matches none)"),
        (FilterOffers({"dear": "price > 99"}), r"data.offer.filters.dear='price > 99' matches none of 14 items; check"),
    ],
)
def test_a_definition_without_offers_is_a_configuration_error(config: OfferConfig, words: str) -> None:
    log = random_log(0)
    if "empty" in words:
        log = replace(log, items=log.items.with_columns(empty=pl.lit(None, pl.String)))
    with pytest.raises(ConfigurationError, match=words) as raised:
        config.all(log)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("positions", [[], [3], [0, 2, 5], [1, 2, 3, 4, 5]])
def test_selected_offers_are_renumbered_and_keep_their_items(positions: list[int]) -> None:
    offers = random_offers(1, 20)
    taken = offers.take(np.array(positions, np.int64))
    assert taken.name == tuple(offers.name[k] for k in positions)
    np.testing.assert_array_equal(membership(taken), membership(offers)[:, positions])
    assert taken.item_offsets.dtype == np.int64 and taken.item_offer.dtype == np.int32


def test_an_offer_holds_the_items_known_before_the_day() -> None:
    log, config = random_log(0), ColumnOffers("category")
    dated = replace(log, item_known=np.arange(log.items.height, dtype=np.int32) + log.first_day)
    for day in range(log.first_day, log.first_day + log.items.height + 2):
        offers = offers_before(dated, config, day)
        expected = membership(config.all(log)) & (dated.item_known < day)[:, None]
        assert offers.name == config.all(log).name
        np.testing.assert_array_equal(membership(offers), expected)


def distinct_buyers(log: EventLog, belongs: np.ndarray, start: int, end: int) -> list[int]:
    owner = np.repeat(np.arange(len(log)), np.diff(log.offsets))
    sold = (log.kind == PURCHASE) & (log.item >= 0) & (log.day >= start) & (log.day < end)
    return [np.unique(owner[sold & belongs[log.item, m]]).size for m in range(belongs.shape[1])]


@pytest.mark.parametrize("seed", range(5))
def test_buyers_are_distinct_customers_from_day_less_window_to_the_day_before(seed: int) -> None:
    log, random = random_log(seed), np.random.default_rng(seed)
    offers = random_offers(seed, log.items.height)
    for window in (1, 7, 91):
        day = (
            int(random.choice(log.day)) + int(random.integers(0, 2)) * window
        )  # the window opens or closes on an event
        expected = distinct_buyers(log, membership(offers), day - window, day)
        assert count_buyers(log, offers, day, window).tolist() == expected


def test_active_offers_have_enough_buyers_in_the_window() -> None:
    log = random_log(4)
    for day in (log.first_day + 40, log.last_day):
        counts = distinct_buyers(log, membership(ColumnOffers("category").all(log)), day - 30, day)
        for enough in sorted({1, *counts}):
            config = ColumnOffers("category", min_buyers=enough, window=30)
            active = [m for m, count in enumerate(counts) if count >= enough]
            offers = active_offers(log, config, Cutoff(day, 14))
            assert offers.name == tuple(config.all(log).name[m] for m in active)
            np.testing.assert_array_equal(membership(offers), membership(config.all(log))[:, active])


def test_a_never_bought_offer_is_active_without_a_minimum_of_buyers() -> None:
    log = random_log(0)
    never = FilterOffers({"never bought": "item = 'item 000'", "own": "brand = 'own'"})
    assert (log.item > 0).sum() + (log.item < 0).sum() == log.day.size
    assert active_offers(log, never, Cutoff(log.last_day, 14)).name == ("never bought", "own")
    unknown = replace(log, item_known=np.where(np.arange(14) == 0, log.last_day, log.item_known))
    assert active_offers(unknown, never, Cutoff(log.last_day, 14)).name == ("own",)


def test_long_after_the_end_of_the_log_the_offers_active_at_its_end_are_active() -> None:
    log = random_log(4)
    counts = distinct_buyers(log, membership(ColumnOffers("category").all(log)), log.last_day - 29, log.last_day + 1)
    config = ColumnOffers("category", min_buyers=max(counts), window=30)
    offers = active_offers(log, config, Cutoff(log.last_day + 400, 14))
    assert offers.name == active_offers(log, config, Cutoff(log.last_day + 1, 14)).name
    assert len(offers) == counts.count(max(counts)) < len(counts)


def test_without_an_offer_with_enough_buyers_every_bought_offer_is_active() -> None:
    log, filters = random_log(0), {"never bought": "item = 'item 000'", "own": "brand = 'own'"}
    config = FilterOffers(filters, min_buyers=999, window=30)
    assert active_offers(log, config, Cutoff(log.first_day + 150, 14)).name == ("own",)


@pytest.mark.parametrize("enough", [0, 1])
def test_no_active_offer_is_a_configuration_error(enough: int) -> None:
    log = random_log(0)
    unknown = replace(log, item_known=np.full(14, log.last_day, np.int32))
    config = ColumnOffers("category", min_buyers=enough)
    with pytest.raises(ConfigurationError, match="no offer was ever bought before 2023-01-12; use a later cutoff"):
        active_offers(unknown, config, Cutoff(log.first_day + 10, 14))
