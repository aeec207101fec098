"""Markets of eleven years with a December peak, to measure `propensity clv`.

python experiments/value_market.py OUT SEED SHAPE writes a log. A shape is `pareto` (constant rates and gamma
distributed hazards of leaving: the market of Pareto/NBD, but for the season), `december` (a quarter of the customers
order in November and December alone), `returning` (customers pause for months and return), `changing` (rates fall
with age, and later cohorts order less) or `yearly` (most order once, many others once a year around a day of their own,
often in December, and some monthly; amounts are the customer's own and round; three orders a customer).
"""

from __future__ import annotations

import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

START, YEARS, CUSTOMERS = date(2010, 1, 1), 11, 18_000
SHAPES = ("pareto", "december", "returning", "changing", "yearly")


def season(day: np.ndarray, peak: float) -> np.ndarray:
    """Intensity by day of the simulation, with a mean near 1 and its peak in the middle of December."""
    of_year = (day % 365.25) / 365.25
    bump = np.exp(-0.5 * ((np.minimum(abs(of_year - 0.955), 1 - abs(of_year - 0.955))) / 0.035) ** 2)
    return (1 + peak * bump) / (1 + peak * 0.035 * np.sqrt(2 * np.pi))


def market(seed: int, shape: str, customers: int = CUSTOMERS) -> pl.DataFrame:
    """Orders: customer, date, amount."""
    random, days = np.random.default_rng([seed, SHAPES.index(shape)]), int(YEARS * 365.25)
    if shape == "yearly":
        return _table(yearly(random, days, customers))
    peak = random.uniform(1.5, 4.0)
    trend = random.uniform(0.5, 2.0) if shape != "changing" else 0.6  # later cohorts larger or smaller
    joined = days * random.beta(1.0, trend, customers)
    rate = random.gamma(random.uniform(0.6, 1.5), 1.0, customers)
    rate *= random.uniform(0.5, 2.5) / 365.25 / rate.mean() * 1.5
    hazard = random.gamma(random.uniform(0.5, 1.2), 1.0, customers)
    hazard *= 1 / (365.25 * random.uniform(2.0, 4.0)) / hazard.mean()
    life = random.exponential(1 / np.maximum(hazard, 1e-7))
    level, spread = random.normal(3.5, 0.6, customers), random.uniform(0.3, 0.7)
    only = random.random(customers) < (0.25 if shape == "december" else 0.0)
    rows = []
    for n in range(customers):
        end, most = min(days, joined[n] + life[n]), rate[n] * (1 + peak) * (4 if only[n] else 1)
        number = random.poisson(most * (end - joined[n]))
        day = joined[n] + np.sort(random.random(number)) * (end - joined[n])
        weight = season(day, peak) / (1 + peak)
        if only[n]:
            weight = np.where((day % 365.25) > 305, weight, 0.02)
        if shape == "returning":
            length = random.exponential(500, 40) + 120
            weight *= np.searchsorted(np.cumsum(length), day - joined[n]) % 2 == 0
        if shape == "changing":
            weight *= np.exp(-(day - joined[n]) / 1500) * np.exp(-joined[n] / days)
        day = np.concatenate([[joined[n]], day[random.random(number) < weight]]).astype(int)
        amount = np.exp(level[n] + random.normal(0, spread, day.size)).round(2) + 0.01
        rows += [(n, int(d), float(a)) for d, a in zip(day, amount, strict=True)]
    return _table(rows)


def yearly(random: np.random.Generator, days: int, customers: int) -> list[tuple[int, int, float]]:
    """Orders of customers with a day of the year of their own, who may skip a year and leave for good."""
    late = 365.25 * random.normal(0.95, 0.05, customers)
    own = np.where(random.random(customers) < random.uniform(0.3, 0.6), late, random.uniform(0, 365.25, customers))
    joined = np.floor(random.beta(1.0, random.uniform(0.8, 1.1), customers) * YEARS) * 365.25 + own
    once, monthly = random.random(customers) < random.uniform(0.3, 0.45), random.random(customers) < 0.02
    keep = random.beta(random.uniform(1.0, 2.0), random.uniform(1.0, 1.5), customers)  # of ordering in a year
    stay = random.beta(6.0, random.uniform(0.8, 1.5), customers)  # of staying another year
    second, trend = random.uniform(0.1, 0.3), random.uniform(-0.02, 0.03)
    level, spread = random.normal(3.4, 0.8, customers), random.gamma(1.0, 0.25, customers)
    rows = []
    for n in range(customers):
        clock, place = [joined[n]], joined[n]
        while not once[n] and place < days:
            place += 365.25
            if random.random() > stay[n]:
                break
            if random.random() < keep[n] * (1 + trend * place / 365.25):
                clock += [place + random.normal(0, 25)] + [place + random.uniform(0, 365)] * (random.random() < second)
            if monthly[n]:
                clock += list(place + 30.4 * np.arange(12) + random.uniform(0, 30))
        day = np.sort(np.array(clock)).astype(int)
        day = day[(day >= 0) & (day < days)]
        amount = np.exp(level[n] + random.normal(0, spread[n], day.size) + 0.3 * random.standard_t(5, day.size))
        rows += [(n, int(d), float(a)) for d, a in zip(day, np.clip(5 * np.round(amount / 5), 5, 4500), strict=True)]
    return rows


def _table(rows: list[tuple[int, int, float]]) -> pl.DataFrame:
    table = pl.DataFrame(rows, schema=["customer", "day", "amount"], orient="row")
    return table.select(
        "customer", (pl.lit(START) + pl.duration(days=pl.col("day"))).cast(pl.Date).alias("date"), "amount"
    )


if __name__ == "__main__":
    import propensity as pp

    folder, seed, shape = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    orders = market(seed, shape, int(sys.argv[4]) if len(sys.argv) > 4 else CUSTOMERS)
    last = START + timedelta(days=int(YEARS * 365.25) - 1)
    print(orders.height, "orders up to", last)
    pp.prepare(orders, folder, customer="customer", day="date", item=None, revenue="amount")
