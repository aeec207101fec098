"""Journeys and a fixed list of priorities on a synthetic market: `python experiments/next_best.py`.

In this market a message about a category raises the customer's demand for it for a week. Each plan of messages is
judged by its exact expected revenue, less that without any message. The fixed list: birthday (in the horizon), welcome
(joined in the last 30 days), cross-sell, and then the other campaigns as listed. The journeys choose among the same
campaigns, from exact scores or from the market's averages.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl

from propensity.decision.context import DecisionContext, tie_break
from propensity.decision.next_best import NextBest
from propensity.ingest.source.synthetic import Synthetic
from propensity.metric.interval import bootstrap_interval, resample_weights, verdict
from propensity.scores import Scores
from propensity.simulate.catalogue import Catalogue, Floats
from propensity.simulate.customer import Customers
from propensity.simulate.settings import BLOCK
from propensity.simulate.simulate import State, simulate
from propensity.simulate.truth import forecast, replace_messages

HORIZON, FORCE, MARGIN, COST = 14, 7, 0.3, 0.02
WORLD = Synthetic(customers=4096, items=120, categories=12, days=420, message_effect=1.0)
DAY = 400


def journey_revenue(world: Synthetic, day: int, planned: np.ndarray) -> Floats:
    """(N,) exact expected revenue in the horizon; planned (N, HORIZON) category of the message on each day, or -1.

    A planned message acts for a week or until the next; one sent before the horizon until its weekly slot.
    """
    catalogue, parts = world.catalogue(), []
    for b, start in enumerate(range(0, world.customers, BLOCK)):
        who, state, _ = simulate(world, catalogue, b, day)
        rows = np.full((BLOCK, HORIZON), -1)
        rows[: planned[start : start + BLOCK].shape[0]] = planned[start : start + BLOCK]
        parts.append(block_revenue(world, catalogue, who, state, day, rows))
    return np.concatenate(parts)[: world.customers]


def block_revenue(
    world: Synthetic, catalogue: Catalogue, who: Customers, state: State, day: int, planned: np.ndarray
) -> Floats:
    """(n,) revenue of a block of customers, with messages sent as planned (n, HORIZON)."""
    last_message = np.full(who.rate.size, -1)

    def send(effect: Floats, h: int) -> None:
        ends = np.where(last_message < 0, who.slot == (day + h) % 7, h - last_message == FORCE)
        due = np.flatnonzero(ends | (planned[:, h] >= 0))
        replace_messages(effect, due, (planned[due, h, None] == np.arange(effect.shape[-1])).astype(float))
        last_message[planned[:, h] >= 0] = h

    _, value, _ = forecast(world, catalogue, who, state, day, HORIZON, send)
    revenue: Floats = value.sum(axis=1)
    return revenue


def messages(journey: pl.DataFrame, first: date, names: list[str], customers: int) -> np.ndarray:
    """(N, HORIZON) category of each message, or -1."""
    planned = np.full((customers, HORIZON), -1)
    for customer, day, offer in journey.select("customer_id", "day", "offer_id").iter_rows():
        planned[customer, (day - first).days] = names.index(offer)
    return planned


def main() -> None:
    quiet = replace(WORLD, messages=0.0)  # what is sent from now on is what is planned
    first = date.fromisoformat(WORLD.start) + timedelta(days=DAY)
    truth = quiet.truth(first, HORIZON)
    who, names = WORLD.customers_of(), truth.category
    birthday = (tie_break(truth.customer) % 365).astype(np.int64)
    customers = pl.DataFrame(
        {
            "customer_id": [str(c) for c in truth.customer],
            "birthday_in": birthday,
            "joined_ago": DAY - who.joined,
            "suppressed": ~truth.known,
        }
    )
    flat = np.broadcast_to(truth.expected_revenue[truth.known].mean(axis=0), truth.expected_revenue.shape)
    best = [names[m] for m in np.argsort(-flat[0])]
    listed = [
        {"name": "birthday", "offer": best[0], "where": f"birthday_in < {HORIZON}", "priority": 1},
        {"name": "welcome", "offer": best[1], "where": "joined_ago BETWEEN 0 AND 30", "priority": 2},
        {"name": "cross-sell", "offer": best[2], "priority": 3},
        *({"name": name, "offer": name} for name in best),
    ]
    listed = [{**campaign, "days": list(range(HORIZON))} for campaign in listed]
    weight = resample_weights([truth.customer], 1000, 17)[0].T.astype(np.float64)
    nothing = journey_revenue(WORLD, DAY, np.full((WORLD.customers, HORIZON), -1))
    earned = {}
    for name, money in (("exact scores", truth.expected_revenue), ("the market's averages", flat)):
        scores = Scores(truth.customer, tuple(names), np.clip(money, 0, 1), money, first.isoformat(), name)
        result = NextBest(campaigns=listed, margin=MARGIN, cost=COST)(DecisionContext(scores, customers=customers))
        plans = {
            f"journeys from {name}": result.extra_tables["journey"],
            "fixed list": result.extra_tables["fixed_list"],
        }
        for plan, journey in plans.items():
            planned = messages(journey, first, list(names), WORLD.customers)
            more = MARGIN * (journey_revenue(WORLD, DAY, planned) - nothing) - COST * (planned >= 0).sum(axis=1)
            earned[plan] = weight @ more
            print(f"{plan}: {journey.height:,} messages earn {earned[plan][0]:,.2f} more than none")
    for plan in [plan for plan in earned if plan != "fixed list"]:
        difference = bootstrap_interval(earned[plan] - earned["fixed list"])
        interval = f"[{difference.low:+,.2f}, {difference.high:+,.2f}], {verdict(difference)}"
        print(f"{plan} minus the fixed list: {difference.value:+,.2f} {interval}")


if __name__ == "__main__":
    main()
