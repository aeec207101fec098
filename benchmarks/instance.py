"""Synthetic campaign planning problems of many shapes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from propensity.decision.plan.problem import Problem
from propensity.kernel.contact_cap import EDGE, Calendar
from propensity.kernel.plan import Limits

CAMPAIGNS, DAYS = 50, 14


class Shape(NamedTuple):
    """Parameters of a problem. audience: range of the largest size of a campaign, as a share of the customers; least:
    share of that; day, week: contact caps; value: distribution of the value of a contact; eligible: share of pairs."""

    about: str
    audience: tuple[float, float] = (0.03, 0.2)
    least: float = 0.3
    day: int = 1
    week: int = 3
    value: str = "gamma"
    eligible: float = 0.9


SHAPES = {
    "usual": Shape("audiences of 3 to 20 %, 1 a day and 3 a week"),
    "large": Shape("audiences of 30 to 90 %: the caps bind", audience=(0.3, 0.9), least=0.1),
    "small": Shape("audiences of 0.1 to 2 %: the limits bind", audience=(0.001, 0.02)),
    "tight": Shape("1 contact a week, least 80 % of most", audience=(0.01, 0.06), least=0.8, week=1),
    "loose": Shape("3 a day and 10 a week", day=3, week=10),
    "heavy": Shape("values with a Pareto tail of index 1.5", value="pareto"),
    "ties": Shape("values of five levels", value="levels"),
    "narrow": Shape("a fifth of the pairs is eligible", audience=(0.01, 0.15), eligible=0.2),
    "uplift": Shape("incremental values, four in ten below 0", value="signed"),
    "uplift ties": Shape("incremental values of five levels", value="signed levels"),
}


def problem(customers: int, shape: str = "usual", seed: int = 1) -> Problem:
    """Campaigns on the days of two weeks, caps by day and calendar week, bounds on audiences; a contact costs 0.05."""
    random, parameters = np.random.default_rng(seed), SHAPES[shape]
    day = np.sort(random.integers(0, DAYS, CAMPAIGNS))
    value = values(random, parameters.value, customers)
    value[random.random(value.shape, np.float32) >= parameters.eligible] = -np.inf
    calendar = Calendar(
        campaign=np.arange(CAMPAIGNS),
        weight=np.ones(CAMPAIGNS),
        start=np.searchsorted(day, np.arange(DAYS + 1)).astype(np.int64),
        week=(np.arange(-EDGE, DAYS + EDGE) + 70) // 7,
        clash=np.zeros((0, 0), bool),
        day_cap=parameters.day,
        week_cap=parameters.week,
        rolling=False,
    )
    most = np.floor(random.uniform(*parameters.audience, CAMPAIGNS) * customers) + 1
    limits = Limits(np.eye(CAMPAIGNS), np.floor(parameters.least * most), most)
    return Problem(value, np.full(CAMPAIGNS, 0.05), np.zeros((1, DAYS + 2 * EDGE), np.uint8), calendar, limits)


def values(random: np.random.Generator, kind: str, customers: int) -> np.ndarray:
    """(N, CAMPAIGNS) float32: products of a customer effect, a campaign effect and noise."""
    if kind.startswith("signed"):
        return signed(random, customers, ties=kind == "signed levels")
    person, campaign = random.gamma(1, 1, (customers, 1)), random.gamma(1, 1, (1, CAMPAIGNS))
    if kind == "pareto":
        noise = random.pareto(1.5, (customers, CAMPAIGNS)).astype(np.float32)
    else:
        noise = random.gamma(0.5, 1, (customers, CAMPAIGNS)).astype(np.float32)
    value = (person * campaign).astype(np.float32) * noise
    return np.ceil(np.minimum(value, 1.0) * 5) / np.float32(5) if kind == "levels" else value


def signed(random: np.random.Generator, customers: int, ties: bool) -> np.ndarray:
    """(N, CAMPAIGNS) float32: uplift, normal around the mean of each campaign; ties: of five levels."""
    mean = random.normal(0.05, 0.05, (1, CAMPAIGNS)).astype(np.float32)
    value = random.normal(0, 0.1, (customers, 1)).astype(np.float32) + mean
    value = value + np.float32(0.15) * random.standard_normal((customers, CAMPAIGNS), np.float32)
    return np.clip(np.round(value * 5), -2, 2) / np.float32(5) if ties else value
