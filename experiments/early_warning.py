"""Delay of the alarm in markets with planted silent deaths: python experiments/early_warning.py 11 12 13.

A third of the customers of the synthetic market stops on a day of the second half, without a sign. Every method follows
each customer from the middle of the log on and rings when a silence is longer than its limit. Limits are scaled so that
10 % of the customers who stay have an alarm within a quarter, in the quarters of the market itself; then the days from
the death to the alarm are compared.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl

from propensity.ingest.source.synthetic import Synthetic
from propensity.kernel.order_day import OrderDays, Recency, recency
from propensity.value.parametric import fit_orders
from propensity.value.rhythm import fit_rhythm

FALSE_ALARMS, QUARTER = 0.1, 91
Limits = Callable[[float], np.ndarray]  # strictness -> days of silence at which the alarm rings, for each spell


class Spells(NamedTuple):
    """The silences after each order from the middle of the log on, of customers with two orders by then or later.

    Parameters
    ----------
    customer : (S,) number of the customer
    last : (S,) day of the order with which the silence begins
    until : (S,) day of the next order, or the end of the log
    state : customer as of the order
    death : (N,) day from which a customer is dead, the end of the log for those who stay
    begin, end : first and last day of the watch
    """

    customer: np.ndarray
    last: np.ndarray
    until: np.ndarray
    state: Recency
    death: np.ndarray
    begin: int
    end: int


def planted(seed: int, customers: int, views: bool = False) -> tuple[OrderDays, np.ndarray, int]:
    """Orders (days counted from 0), death days, and the length of the log; with `views`, days with any visit."""
    days = 540
    market = Synthetic(customers=customers, days=days, seed=seed, dormant_share=0.0, new_share=0.15, items=60)
    events = (
        market.load().events.collect().filter(pl.col("kind").is_in(["purchase", "view"] if views else ["purchase"]))
    )
    first = pl.Series([market.start]).str.to_date()[0]
    table = events.select("customer", day=(pl.col("day") - first).dt.total_days(), revenue=pl.col("revenue"))
    table = table.group_by("customer", "day").agg(pl.col("revenue").sum()).sort("customer", "day")
    random = np.random.default_rng([seed, 1])
    names = table["customer"].unique(maintain_order=True)
    death = np.where(random.random(len(names)) < 1 / 3, random.integers(days // 2, days, len(names)), days)
    table = table.join(pl.DataFrame({"customer": names, "death": death}), on="customer").filter(
        pl.col("day") < pl.col("death")
    )
    counts = names.to_frame().join(table.group_by("customer").len(), on="customer", how="left", maintain_order="left")
    offsets = np.concatenate([[0], np.cumsum(counts["len"].fill_null(0).to_numpy())]).astype(np.int64)
    return OrderDays(offsets, table["day"].to_numpy().astype(np.int32), table["revenue"].to_numpy()), death, days


def spells(orders: OrderDays, death: np.ndarray, days: int) -> Spells:
    """Every silence that reaches beyond the middle of the log."""
    begin, rows = days // 2, []
    for n in range(death.size):
        own = orders.day[orders.offsets[n] : orders.offsets[n + 1]]
        for k in range(own.size):
            until = own[k + 1] if k + 1 < own.size else days
            if until > begin:
                rows.append(
                    (n, own[k], until, k, own[0], orders.revenue[orders.offsets[n] : orders.offsets[n] + k + 1].sum())
                )
    customer, last, until, x, first, spend = (np.array(column) for column in zip(*rows, strict=True))
    span = (last - first) / 7.0
    return Spells(
        customer.astype(int), last, until, Recency(x.astype(float), span, span, x + 1.0, x + 1.0), death, begin, days
    )


def rings(watch: Spells, limit: np.ndarray) -> np.ndarray:
    """Day of the alarm of each silence, beyond the log without one."""
    day = watch.last + np.ceil(limit)
    return np.where(day < watch.until, np.maximum(day, watch.begin), 10**6)


def false_alarms(watch: Spells, limit: np.ndarray) -> float:
    """Share of customers who stay with a first alarm of a silence within a quarter, the mean of the quarters."""
    day, shares = rings(watch, limit), []
    raw = watch.last + np.ceil(limit)
    for start in range(watch.begin, watch.end - QUARTER + 1, QUARTER):
        stays = np.flatnonzero(watch.death >= start + QUARTER)
        there = np.isin(stays, watch.customer[watch.last < start])
        stays = stays[there]
        new = (day >= start) & (day < start + QUARTER) & (raw >= start)
        shares.append(np.isin(stays, watch.customer[new]).mean())
    return float(np.mean(shares))


def delays(watch: Spells, limit: np.ndarray) -> np.ndarray:
    """Days from the death to the alarm of each customer who died with an order before, infinite without an alarm."""
    day = rings(watch, limit)
    last = np.concatenate([watch.customer[1:] != watch.customer[:-1], [True]])
    own = watch.customer[last]
    dies = watch.death[own] < watch.end
    return np.where(day[last] < 10**6, np.maximum(day[last] - watch.death[own], 0.0), np.inf)[dies]


def calibrated(watch: Spells, limits: Limits, low: float, high: float) -> tuple[float, np.ndarray]:
    """The strictness, and its limits, at which `FALSE_ALARMS` are reached; limits fall with the strictness."""
    for _ in range(20):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if false_alarms(watch, limits(middle)) < FALSE_ALARMS else (low, middle)
    return low, limits(low)


def methods(orders: OrderDays, watch: Spells) -> dict[str, tuple[Limits, float, float]]:
    """Limits by method, fitted on what was known in the middle of the log, with the range of their strictness."""
    before = recency(orders, watch.begin)
    before = before._replace(
        **{name: np.maximum(column, 0) for name, column in before._asdict().items() if name != "x"}
    )
    rhythm, state = fit_rhythm(before, orders, watch.begin), watch.state
    seen = before.x >= 0
    known = Recency(*(column[seen] for column in before))
    pareto = fit_orders("pareto_nbd", known)
    gap = np.where(state.x > 0, state.t_x * 7 / np.maximum(state.x, 1), np.inf)
    grid = np.unique(np.round(np.geomspace(1, 540, 120)))
    gone = np.stack([1.0 - pareto.alive(state._replace(t_end=state.t_x + silence / 7)) for silence in grid])

    def by_alive(strictness: float) -> np.ndarray:
        above = gone > 1.0 / strictness
        return np.where(above.any(axis=0), grid[above.argmax(axis=0)], np.inf)

    return {
        "recency over twice the own gap": (lambda s: np.maximum(gap, 1) * 2 / s, 0.05, 5.0),
        "Pareto/NBD P(alive)": (by_alive, 1.0, 1e9),
        "alarm": (lambda s: rhythm.alarm(state, min(s, 0.999), known) * 7, 1e-4, 0.999),
    }


def main(seeds: list[int], customers: int = 1024) -> None:
    """Print the median delay of each method and seed, from orders alone and from all visits."""
    for seed in seeds:
        for source in ("orders", "visits"):
            orders, death, days = planted(seed, customers, source == "visits")
            watch = spells(orders, death, days)
            for name, (limits, low, high) in methods(orders, watch).items():
                strictness, limit = calibrated(watch, limits, low, high)
                late = delays(watch, limit)
                print(f"seed {seed}, {source}, {name}: setting {strictness:.4g}, false alarms "
                      f"{false_alarms(watch, limit):.3f}, deaths {late.size}, median {np.median(late):.0f} days, "
                      f"quartile {np.quantile(late, 0.25):.0f}, found {np.isfinite(late).mean():.2f}")  # fmt: skip


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [11, 12, 13])
