"""Pairs of requests: columns equal their definitions, and nothing at or after a request's own cutoff is read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from propensity.catalogue.column import COLUMNS
from propensity.catalogue.market import market_at, similarities
from propensity.catalogue.pairs import Catalogue, Pairs
from propensity.catalogue.requests import Requests
from propensity.catalogue.sales import Sales, sales_of
from propensity.catalogue.sample import training_sample
from propensity.data.catalogue import CatalogueConfig
from propensity.data.event_log import EventLog
from propensity.kernel.event import PURCHASE
from random_log import NOBODY, around_events, membership, random_log, random_offers, with_another_future

OFFERS = 6
SMALL = CatalogueConfig(popular=2, partners=1, per_group=1, strongest=3, negatives=2)


def world(seed: int) -> tuple[EventLog, Any, Sales]:
    log = random_log(seed)
    offers = random_offers(seed, log.item_known.size, OFFERS)
    return log, offers, sales_of(log, offers)


def requests_of(log: EventLog, seed: int) -> Requests:
    """Three customers at each of the days around events, the one without an event among them."""
    random = np.random.default_rng(seed)
    days = np.repeat([day for day in around_events(log, seed) if day > log.first_day], 3)
    customer = random.integers(0, len(log), days.size)
    customer[::5] = NOBODY
    unique = np.unique(np.stack([days, customer]), axis=1)
    return Requests(unique[1].astype(np.int64), unique[0].astype(np.int64))


def table(catalogue: Catalogue, requests: Requests) -> list[tuple[Pairs, np.ndarray]]:
    return [(pairs, catalogue.columns(pairs, requests)) for pairs in catalogue.blocks(requests)]


def own_rows(log: EventLog, belongs: np.ndarray, customer: int, day: int) -> list[tuple[int, int, float]]:
    """(day, offer, revenue) of the purchases of a customer before a day, one for each event and offer."""
    return [
        (int(log.day[e]), int(m), float(log.revenue[e]))
        for e in range(log.offsets[customer], log.offsets[customer + 1])
        if log.kind[e] == PURCHASE and log.item[e] >= 0 and log.day[e] < day
        for m in np.flatnonzero(belongs[log.item[e]])
    ]


@pytest.mark.parametrize("seed", range(6))
def test_columns_of_a_pair_equal_their_definitions(seed: int) -> None:
    log, offers, sales = world(seed)
    belongs, requests = membership(offers), requests_of(log, seed)
    for pairs, x in table(Catalogue(sales, offers.parent, SMALL), requests):
        day = pairs.market.day
        for b, request in enumerate(pairs.request):
            rows = own_rows(log, belongs, int(requests.customer[request]), day)
            visits = sorted({row[0] for row in rows})
            for p in range(pairs.start[b], pairs.start[b + 1]):
                offer, got = int(pairs.offer[p]), dict(zip(COLUMNS, x[p], strict=True))
                days = sorted({row[0] for row in rows if row[1] == offer})
                money = sum(row[2] for row in rows if row[1] == offer)
                first = min((d for d, m, _ in all_rows(log, belongs, day) if m == offer), default=None)
                expected = {
                    "pair_baskets": len(days),
                    "pair_share": len(days) / max(len(visits), 1),
                    "pair_decayed_30": sum(0.5 ** ((day - d) / 30) for d in days),
                    "pair_since_last": day - days[-1] if days else np.nan,
                    "pair_since_first": day - days[0] if days else np.nan,
                    "pair_gap": (days[-1] - days[0]) / (len(days) - 1) if len(days) > 1 else np.nan,
                    "pair_baskets_since": len([v for v in visits if v >= days[-1]]) if days else np.nan,
                    "pair_basket_decay": sum(0.8 ** len([v for v in visits if v > d]) for d in days),
                    "pair_revenue": money / len(days) if days else np.nan,
                    "pair_visits_on_sale": len(
                        [v for v in visits if day - v <= 28 and first is not None and v >= first]
                    ),
                    "customer_visits": len(visits),
                    "customer_since_visit": day - visits[-1] if visits else np.nan,
                    "customer_visits_28": len([v for v in visits if day - v <= 28]),
                }
                for name, value in expected.items():
                    assert got[name] == pytest.approx(value, rel=1e-4, nan_ok=True), (name, day, offer)


def all_rows(log: EventLog, belongs: np.ndarray, day: int) -> list[tuple[int, int, float]]:
    return [row for customer in range(len(log)) for row in own_rows(log, belongs, customer, day)]


@pytest.mark.parametrize("seed", range(4))
def test_shares_of_the_market_count_baskets_strictly_before_the_day(seed: int) -> None:
    log, offers, sales = world(seed)
    belongs, day = membership(offers), around_events(log, seed)[3]
    market = market_at(sales, offers.parent, day)
    baskets = {(n, d, m) for n in range(len(log)) for d, m, _ in own_rows(log, belongs, n, day) if day - d <= 28}
    visits = {(n, d) for n, d, _ in baskets}
    for m in range(OFFERS):
        share = len([1 for b in baskets if b[2] == m]) / max(len(visits), 1)
        assert market.columns[m, COLUMNS.index("share_28")] == pytest.approx(share, rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_at_or_after_the_own_cutoff_of_a_request_changes_its_pairs(seed: int) -> None:
    log, offers, sales = world(seed)
    requests, random = requests_of(log, seed), np.random.default_rng(seed)
    for pairs, x in table(Catalogue(sales, offers.parent, SMALL), requests):
        day, here = pairs.market.day, requests.take(pairs.request)
        shuffled = with_another_future(log, day, random, ("item", "kind", "quantity", "revenue"))
        for future in (shuffled, log.until(day)):
            changed = Catalogue(sales_of(future, offers), offers.parent, SMALL)
            (again, y), *rest = table(changed, here)
            assert not rest
            for name in ("start", "offer", "affinity"):
                np.testing.assert_array_equal(getattr(again, name), getattr(pairs, name))
            np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("seed", range(4))
def test_the_pairs_of_a_request_do_not_depend_on_the_other_requests(seed: int) -> None:
    log, offers, sales = world(seed)
    requests = requests_of(log, seed)
    together = table(Catalogue(sales, offers.parent, SMALL), requests)
    for pairs, x in together:
        for b, request in enumerate(pairs.request):
            (alone, y), *_ = table(Catalogue(sales, offers.parent, SMALL), requests.take(np.array([request])))
            rows = slice(pairs.start[b], pairs.start[b + 1])
            np.testing.assert_array_equal(alone.offer, pairs.offer[rows])
            np.testing.assert_array_equal(y, x[rows])


@pytest.mark.parametrize("seed", range(4))
def test_a_request_has_the_own_offers_of_its_customer_first_and_no_offer_twice(seed: int) -> None:
    log, offers, sales = world(seed)
    belongs, requests = membership(offers), requests_of(log, seed)
    for pairs, _ in table(Catalogue(sales, offers.parent, SMALL), requests):
        for b, request in enumerate(pairs.request):
            chosen = pairs.offer[pairs.start[b] : pairs.start[b + 1]].tolist()
            own = {m for _, m, _ in own_rows(log, belongs, int(requests.customer[request]), pairs.market.day)}
            assert set(chosen[: len(own)]) == own
            assert len(set(chosen)) == len(chosen)


@pytest.mark.parametrize("seed", range(4))
def test_named_offers_have_the_columns_of_offers_that_were_found(seed: int) -> None:
    log, offers, sales = world(seed)
    requests = requests_of(log, seed)
    catalogue = Catalogue(sales, offers.parent, SMALL)
    for pairs, x in table(catalogue, requests):
        here = requests.take(pairs.request)._replace(named=(pairs.start, pairs.offer.astype(np.int64)))
        (named, y), *_ = table(catalogue, here)
        np.testing.assert_array_equal(named.offer, pairs.offer)
        np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("seed", range(4))
def test_partners_are_the_largest_shrunk_cosines(seed: int) -> None:
    log, offers, sales = world(seed)
    belongs, day = membership(offers), log.first_day + 300
    bought = np.zeros((len(log), OFFERS))
    for n in range(len(log)):
        for d, m, _ in own_rows(log, belongs, n, day):
            bought[n, m] = max(bought[n, m], d >= day - 91)
    both = bought.T @ bought
    size = np.diag(both)
    cosine = np.where(both >= 2, both / (np.sqrt(np.outer(size, size)) + 5.0), 0.0)
    np.fill_diagonal(cosine, 0.0)
    similarity = similarities(sales, day, OFFERS)[0]
    for m in range(OFFERS):
        np.testing.assert_allclose(similarity.weight[m], -np.sort(-cosine[m]), rtol=1e-6)
        for j, weight in zip(similarity.partner[m, : similarity.size[m]], similarity.weight[m], strict=False):
            assert cosine[m, j] == pytest.approx(weight)


@pytest.mark.parametrize("horizon", [1, 14])
def test_labels_are_purchases_from_the_cutoff_on(horizon: int) -> None:
    log, offers, sales = world(1)
    belongs, requests = membership(offers), requests_of(log, 1)
    catalogue = Catalogue(sales, offers.parent, CatalogueConfig())
    for pairs in catalogue.blocks(requests):
        bought, revenue = catalogue.labels(pairs, requests, horizon)
        day = pairs.market.day
        for p, b in enumerate(pairs.owner):
            customer = int(requests.customer[pairs.request[b]])
            rows = [
                r for r in own_rows(log, belongs, customer, day + horizon) if r[0] >= day and r[1] == pairs.offer[p]
            ]
            assert bought[p] == bool(rows)
            assert revenue[p] == pytest.approx(sum(row[2] for row in rows), rel=1e-5)


def test_weights_of_the_sample_add_up_to_all_pairs() -> None:
    log, offers, sales = world(2)
    requests, config = requests_of(log, 2), CatalogueConfig(negatives=1)
    catalogue = Catalogue(sales, offers.parent, config)
    pairs = list(catalogue.blocks(requests))
    bought = sum(int(catalogue.labels(each, requests, 60)[0].sum()) for each in pairs)
    totals = []
    for seed in range(60):
        sample = training_sample(catalogue, requests, 60, seed)
        assert sample.bought.sum() == bought
        assert (sample.weight[sample.bought] == 1).all()
        totals.append(sample.weight.sum())
    error = np.std(totals) / np.sqrt(len(totals))
    assert abs(np.mean(totals) - sum(each.offer.size for each in pairs)) < 4 * error + 1e-9
    assert len(sample.weight) < sum(each.offer.size for each in pairs)
