"""Do lookalikes buy more than matched others? `python experiments/lookalike.py data/complete_journey out 2017-08-07`.

For each cutoff an encoder is pretrained on the events before it. For each of the most bought offers the seeds are the
buyers of the last 28 days; customers without a purchase of the offer in the last 91 days are compared with them. The
5 % who are most similar are the lookalikes. Each is matched, at random, with another of these customers in the same
cell: the same third by recency, and the same fifth by orders and by spend in 91 days. The outcome is a purchase of the
offer in the 28 days from the cutoff on. Two embeddings are compared: the pretrained one, and a plain profile, the
logarithms of the purchase days of each other offer in the last 364 days.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from propensity.command import typed
from propensity.config import conf_folder
from propensity.data.cutoff import Cutoff
from propensity.data.event_log import to_day
from propensity.decision.lookalike import similarity_to
from propensity.feature.features import Features
from propensity.ingest.rule.matching import rows_of
from propensity.pretrain.batch import purchases_of
from propensity.pretrain.run import CUSTOMERS, pretrain

HORIZON, SEEDS, WITHOUT, PROFILE = 28, 28, 91, 364  # days
SHARE, OFFERS, NEIGHBOURS, RESAMPLES = 0.05, 20, 10, 1_000


class Judged(NamedTuple):
    """A lookalike and his match: places of both among the customers, and whether each bought."""

    found: np.ndarray
    match: np.ndarray
    bought: np.ndarray  # (K, 2) lookalike, match


class Market(NamedTuple):
    """Purchases around a cutoff: of the customers with one before it, by offer."""

    customer: np.ndarray  # (E,) place among the customers
    ago: np.ndarray  # (E,) days before the cutoff; 0 or less: after it
    offer: np.ndarray
    orders: np.ndarray  # (N,) purchase days in 91 days
    spend: np.ndarray
    recency: np.ndarray
    offers: int


def market_of(log: Any, task: Any, ids: pl.Series, cutoff: Cutoff) -> Market:
    """The purchases of some customers until the horizon's end, and what they are matched by."""
    whole = task.training_set(log.before(cutoff.day))
    features = Features(log.before(cutoff.end), whole.features.offers, whole.vocabulary, task.feature)
    rows = rows_of(ids, features.log.customers["customer"])
    customer, ago, offer = purchases_of(features, cutoff.day, rows)
    recent = (ago > 0) & (ago <= WITHOUT)
    days = np.unique(customer[recent] * 10_000 + ago[recent]) // 10_000
    events = features.events
    start, stop = events.offsets[rows], events.offsets[rows + 1]
    spend = np.array(
        [
            float(events.revenue[a:b][(events.day[a:b] < cutoff.day) & (events.day[a:b] >= cutoff.day - WITHOUT)].sum())
            for a, b in zip(start, stop, strict=True)
        ]
    )
    recency = np.full(rows.size, 9_999)
    np.minimum.at(recency, customer[ago > 0], ago[ago > 0])
    orders = np.bincount(days, minlength=rows.size)
    return Market(customer, ago, offer, orders, spend, recency, len(features.offers))


def bought_within(market: Market, offer: int, first: int, last: int) -> np.ndarray:
    """(N,) bool: a purchase of an offer from `first` to `last` days before the cutoff."""
    there = (market.offer == offer) & (market.ago >= first) & (market.ago <= last)
    out = np.zeros(market.orders.size, bool)
    out[market.customer[there]] = True
    return out


def profile(market: Market) -> np.ndarray:
    """(N, M) logarithms of the purchase days of each offer."""
    there = (market.offer >= 0) & (market.ago > 0) & (market.ago <= PROFILE)
    key = (market.customer[there].astype(np.int64) * market.offers + market.offer[there]) * 10_000 + market.ago[there]
    pair = np.unique(key) // 10_000
    return np.log1p(np.bincount(pair, minlength=market.orders.size * market.offers)).reshape(-1, market.offers)


def unit(values: np.ndarray) -> np.ndarray:
    """Standardised columns, rows of length 1."""
    deviation = values.std(axis=0)
    scaled = (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    return (scaled / np.where(length > 0, length, 1.0)).astype(np.float32)


def cells(market: Market) -> np.ndarray:
    """(N,) cell of each customer: thirds by recency, fifths by orders and spend."""

    def part(values: np.ndarray, parts: int) -> np.ndarray:
        return np.searchsorted(np.quantile(values, np.arange(1, parts) / parts), values, side="right")

    return (part(market.recency, 3) * 5 + part(market.orders, 5)) * 5 + part(market.spend, 5)


def judge(market: Market, points: np.ndarray, offer: int, seed: int) -> Judged | None:
    """The lookalikes of an offer's recent buyers; None for fewer than ten seeds."""
    seeds = np.flatnonzero(bought_within(market, offer, 1, SEEDS))
    candidates = np.flatnonzero(~bought_within(market, offer, 1, WITHOUT))
    if seeds.size < 10 or candidates.size < 100:
        return None
    similarity = similarity_to(points[candidates], points[seeds], NEIGHBOURS)
    order = candidates[np.argsort(-similarity, kind="stable")]
    size = max(1, round(SHARE * candidates.size))
    found, others, cell, rng = order[:size], order[size:], cells(market), np.random.default_rng((seed, offer))
    pairs = []
    free = {c: list(rng.permutation(others[cell[others] == c])) for c in np.unique(cell[found])}
    for each in found:
        if free[cell[each]]:
            pairs.append((each, free[cell[each]].pop()))
    if not pairs:
        return None
    matched = np.array(pairs)
    return Judged(matched[:, 0], matched[:, 1], bought_within(market, offer, 1 - HORIZON, 0)[matched])


def interval(judged: list[Judged]) -> dict[str, float]:
    """Shares of buyers, their difference and ratio; 95 % intervals from a bootstrap over the lookalikes' customers."""
    people = np.concatenate([each.found for each in judged])
    bought = np.concatenate([each.bought for each in judged]).astype(float)
    sums = np.zeros((people.max() + 1, 3))
    np.add.at(sums, people, np.column_stack([bought, np.ones(len(bought))]))
    sums = sums[sums[:, 2] > 0]
    rng = np.random.default_rng(0)
    drawn = np.array([sums[rng.integers(0, len(sums), len(sums))].sum(axis=0) for _ in range(RESAMPLES)])
    gain = (drawn[:, 0] - drawn[:, 1]) / drawn[:, 2]
    ratio = drawn[:, 0] / np.maximum(drawn[:, 1], 1)
    found, match, count = sums.sum(axis=0)
    low, high = np.quantile(gain, [0.025, 0.975])
    return {
        "pairs": int(count),
        "found": found / count,
        "matched": match / count,
        "gain": (found - match) / count,
        "gain_low": low,
        "gain_high": high,
        "ratio": found / match,
        "ratio_low": float(np.quantile(ratio, 0.025)),
        "ratio_high": float(np.quantile(ratio, 0.975)),
    }


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="experiments/lookalike.py", description=__doc__)
    parser.add_argument("log", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("cutoffs", nargs="+", help="ISO dates")
    parser.add_argument("--set", nargs="*", default=["contrastive=0.1"], help="settings of the pretraining")
    chosen = parser.parse_args(arguments)
    judged: dict[str, list[Judged]] = {"pretrained": [], "profile": []}
    people = 0
    for date in chosen.cutoffs:
        out = chosen.out / date
        settings = [f"data.log={chosen.log}", "data.offer.column=product_category", f"data.end={date}", f"out={out}"]
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            config = typed(compose("pretrain", overrides=[*settings, "data.cutoff.count=1", *chosen.set]))
        print(json.dumps(pretrain(config)["losses"], indent=1), flush=True)
        task = instantiate(config.data, _convert_="all")
        table = pl.read_parquet(out / CUSTOMERS)
        market = market_of(task.open(), task, table["customer_id"], Cutoff(to_day(date), HORIZON))
        embeddings = {"pretrained": table.drop("customer_id").to_numpy(), "profile": profile(market)}
        known = np.bincount(market.offer[(market.ago > 0) & (market.offer >= 0)], minlength=market.offers)
        for offer in np.argsort(-known)[:OFFERS]:
            for name, values in embeddings.items():
                if name == "profile":  # without the offer itself, which the others lack by choice
                    values = np.delete(values, offer, axis=1)
                one = judge(market, unit(values), int(offer), seed=17)
                if one is not None:
                    judged[name].append(one._replace(found=one.found + people))
        people += market.orders.size
    results = {name: interval(each) for name, each in judged.items()}
    (chosen.out / "lookalike.json").write_text(json.dumps(results, indent=1))
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
