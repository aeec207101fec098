"""The design of an experiment from the retailer's log: minimum detectable effect, sample size, duration and cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from propensity.ab.covariate import design_matrix
from propensity.ab.distribution import normal_quantile
from propensity.ab.effect import ALPHA, POWER
from propensity.ab.factorial import levels_of
from propensity.ab.split import GLOBAL, HOLDOUT
from propensity.ab.table import RefusedError
from propensity.ab.window import covariates, known_customers, require_outcomes, window
from propensity.data.event_log import EventLog, to_date
from propensity.errors import ConfigurationError
from propensity.scores import Scores

FEWEST = 100  # customers of an arm below which no design is made
LONGEST = 364  # days


@dataclass(frozen=True)
class Plan:
    """What an experiment is to find.

    Parameters
    ----------
    outcome : str
        Of visit, orders, revenue, margin and unsubscribe; the others are guardrails.
    horizon : int
        Days after the send in which the outcome counts.
    arms : mapping of str to float
        Share of each arm outside the global holdout.
    control : str
        The arm that others are compared with.
    global_holdout : float
        Share of customers that no experiment contacts.
    relevant : float
        Smallest effect that matters, as a share of the mean.
    alpha, power : float
        Probability of a false claim, and of finding an effect as large as the minimum detectable effect.
    margin, cost : float
        Share of the revenue that is earned, and money per message.
    """

    outcome: str = "revenue"
    horizon: int = 14
    arms: Mapping[str, float] = field(default_factory=lambda: {"treatment": 0.9, HOLDOUT: 0.1})
    control: str = HOLDOUT
    global_holdout: float = 0.05
    relevant: float = 0.05
    alpha: float = ALPHA
    power: float = POWER
    margin: float = 0.3
    cost: float = 0.02

    def require(self) -> None:
        """Refuse a plan that contradicts itself."""
        if self.arms and len(self.arms) < 2:
            raise RefusedError("everyone would be treated and no effect could be known; add a holdout to arms")
        if not self.arms or min(self.arms.values()) <= 0 or abs(sum(self.arms.values()) - 1) > 1e-9:
            raise ConfigurationError(f"arms are {dict(self.arms)}; their shares must be above 0 and sum to 1")
        if self.control not in self.arms:
            raise RefusedError(f"no arm is the control {self.control!r} (arms: {', '.join(self.arms)}); keep a holdout")


def design(log: EventLog, cutoff: int, plan: Plan, scores: Scores | None = None) -> dict[str, Any]:
    """What an experiment that starts on the cutoff can find, by the outcomes of the days before it.

    Parameters
    ----------
    log : EventLog
        The log; nothing from the cutoff on is read.
    cutoff : int
        Day of the send.
    plan : Plan
        Arms, outcome and levels.
    scores : Scores, optional
        Scores of a run at `cutoff - horizon`, whose expected revenue is one more covariate.

    Returns
    -------
    dict
        `customers`, `mean`, `deviation`, `mde` and `mde_relative` raw and `adjusted`, `variance_reduction` by source of
        the covariates, `factors` (MDE of a level, of a factorial test), `sample_size`, `duration`, `days`,
        `guardrails`, `holdout` and `sentences`.

    Raises
    ------
    ConfigurationError
        For an outcome that the log does not hold, or scores of another cutoff.
    RefusedError
        Without a holdout, or with fewer than 100 customers in an arm.

    Notes
    -----
    The variance of a difference after regression on pre-period covariates is that of the residual: a share R^2 less
    (CUPED, Deng et al., WSDM 2013). With several treatments alpha is divided by their number.
    """
    plan.require()
    start = cutoff - plan.horizon
    if start <= log.first_day or cutoff - 1 > log.last_day:
        raise ConfigurationError(
            f"the design needs the {plan.horizon} days before {to_date(cutoff)} in the log, which has "
            f"{to_date(log.first_day)} to {to_date(log.last_day)}; choose another cutoff or a shorter horizon"
        )
    known = known_customers(log, start)
    values = window(log, start, cutoff)
    require_outcomes([plan.outcome], values)
    customers = round(int(known.sum()) * (1 - plan.global_holdout))
    _require_size(plan, customers)
    y = values[plan.outcome][known]
    if y.std() == 0:
        raise RefusedError(
            f"{plan.outcome} does not vary in the {plan.horizon} days before the cutoff; nothing is found"
        )
    past = {name: column[known] for name, column in covariates(log, start).items()}
    reduction = {"log": explained(y, past)}
    if scores is not None:
        score = _score(scores, log, start)[known]
        reduction |= {"score": explained(y, {"score": score}), "log and score": explained(y, past | {"score": score})}
    best = max(reduction.values())
    raw = detectable(float(y.var(ddof=1)), customers, plan)
    adjusted = raw * math.sqrt(1 - best)
    mean = float(y.mean())
    duration = _durations(log, cutoff, known, customers, plan, best)
    return {
        "outcome": plan.outcome,
        "cutoff": str(to_date(cutoff)),
        "horizon": plan.horizon,
        "customers": customers,
        "arms": {name: round(share * customers) for name, share in plan.arms.items()},
        GLOBAL: int(known.sum()) - customers,
        "mean": mean,
        "deviation": float(y.std(ddof=1)),
        "factors": _factors(float(y.var(ddof=1)) * (1 - best), customers, plan),
        "mde": raw,
        "mde_relative": raw / mean,
        "adjusted": {"mde": adjusted, "mde_relative": adjusted / mean},
        "variance_reduction": reduction,
        "sample_size": _sample_sizes(customers, raw, adjusted, plan.relevant * mean),
        "relevant": plan.relevant,
        "duration": duration,
        "days": next((row["days"] for row in duration if row["mde_relative"] <= plan.relevant), None),
        "guardrails": {
            name: detectable(float(column[known].var(ddof=1)), customers, plan)
            for name, column in values.items()
            if name != plan.outcome
        },
        "holdout": _holdout(values["revenue"][known], customers, int(known.sum()) - customers, plan),
        "power": plan.power,
        "alpha": plan.alpha,
    }


def detectable(variance: float, customers: int, plan: Plan) -> float:
    """Minimum detectable effect of the smallest treatment against the control.

    Examples
    --------
    >>> round(detectable(1.0, 10_000, Plan(arms={"treatment": 0.5, "holdout": 0.5})), 4)
    0.056
    """
    treatments = {name: share for name, share in plan.arms.items() if name != plan.control}
    size = customers * min(treatments.values()), customers * plan.arms[plan.control]
    error = math.sqrt(variance * (1 / size[0] + 1 / size[1]))
    return error * (normal_quantile(1 - plan.alpha / len(treatments) / 2) + normal_quantile(plan.power))


def explained(y: np.ndarray, columns: Mapping[str, np.ndarray]) -> float:
    """Share of the variance of y (n,) that a linear regression on the columns removes, by adjusted R^2."""
    x, _ = design_matrix(pl.DataFrame(dict(columns)))
    if y.size <= x.shape[1] + 1 or not x.shape[1]:
        return 0.0
    centred = y - y.mean()
    residual = centred - x @ np.linalg.lstsq(x.T @ x, x.T @ centred, rcond=1e-10)[0]
    share = (y.size - 1) / (y.size - x.shape[1] - 1)
    return max(0.0, 1 - share * float(residual @ residual) / float(centred @ centred))


def _factors(variance: float, customers: int, plan: Plan) -> dict[str, float]:
    """MDE of a level against the other levels of its factor, over all cells; empty without factors."""
    cells = {arm: levels for arm in plan.arms if (levels := levels_of(arm)) is not None}
    found = {}
    for factor in next(iter(cells.values()), {}):
        shares: dict[str, float] = {}
        for arm, levels in cells.items():
            shares[levels[factor]] = shares.get(levels[factor], 0.0) + plan.arms[arm]
        least = min(shares.values())
        error = math.sqrt(variance / customers * (1 / least + 1 / (sum(shares.values()) - least)))
        found[factor] = error * (normal_quantile(1 - plan.alpha / 2) + normal_quantile(plan.power))
    return found


def _require_size(plan: Plan, customers: int) -> None:
    name = min(plan.arms, key=lambda each: plan.arms[each])
    if plan.arms[name] * customers < FEWEST:
        raise RefusedError(
            f"arm {name!r} would have {round(plan.arms[name] * customers)} of {customers:,} customers; an experiment "
            f"needs {FEWEST} in each arm: raise its share"
        )


def _score(scores: Scores, log: EventLog, start: int) -> np.ndarray:
    """Expected revenue (N,) of each customer over all offers; 0 for customers without a score."""
    if scores.cutoff != str(to_date(start)):
        raise ConfigurationError(
            f"the scores are of {scores.cutoff}; a covariate must be known before the days that it explains: "
            f"score the cutoff {to_date(start)}"
        )
    total = pl.DataFrame({"customer": scores.customer, "score": scores.revenue.sum(axis=1, dtype=np.float64)})
    customers = log.customers.select(pl.col("customer").cast(pl.String))
    joined = customers.join(total.cast({"customer": pl.String}), on="customer", how="left", maintain_order="left")
    return joined["score"].fill_null(0.0).to_numpy()


def _sample_sizes(customers: int, raw: float, adjusted: float, effect: float) -> dict[str, int]:
    """Customers of all arms together for which the smallest effect that matters is the minimum detectable one."""
    return {name: math.ceil(customers * (mde / effect) ** 2) for name, mde in (("raw", raw), ("adjusted", adjusted))}


def _durations(
    log: EventLog, cutoff: int, known: np.ndarray, customers: int, plan: Plan, reduction: float
) -> list[dict[str, float]]:
    """Relative MDE after more days, by the sums over as many days before the cutoff; the variance reduction is kept."""
    rows = []
    for days in range(plan.horizon, min(LONGEST, cutoff - log.first_day) + 1, plan.horizon):
        y = window(log, cutoff - days, cutoff)[plan.outcome][known]
        mde = detectable(float(y.var(ddof=1)), customers, plan) / float(y.mean())
        rows.append({"days": days, "mde_relative_raw": mde, "mde_relative": mde * math.sqrt(1 - reduction)})
    return rows


def _holdout(revenue: np.ndarray, customers: int, outside: int, plan: Plan) -> dict[str, float]:
    """Customers without a message, and the margin they would bring if the smallest effect that matters is true."""
    held = round(plan.arms[plan.control] * customers) + outside
    gained = held * plan.relevant * float(revenue.mean()) * plan.margin
    return {
        "customers": held,
        "expected_margin": gained,
        "saved_cost": held * plan.cost,
        "net": gained - held * plan.cost,
    }


def sentences(result: Mapping[str, Any]) -> list[str]:
    """What the design says, in words."""
    adjusted, held = result["adjusted"], result["holdout"]
    gain = ", ".join(f"{share:.0%} by {name}" for name, share in result["variance_reduction"].items())
    relevant, size = result["relevant"], result["sample_size"]
    days = result["days"]
    lasting = (
        f"{relevant:.1%} can be found after {days} days"
        if days
        else f"{relevant:.1%} cannot be found within {result['duration'][-1]['days']} days"
    )
    factors = ", ".join(f"{name} {mde:.4g}" for name, mde in result["factors"].items())
    own = [f"MDE of a level against the others of its factor, after variance reduction: {factors}"] if factors else []
    return own + [
        f"{result['customers']:,} customers, {result['outcome']} {result['mean']:.4g} in {result['horizon']} days: MDE "
        f"{result['mde']:.4g} ({result['mde_relative']:.1%}), {adjusted['mde']:.4g} ({adjusted['mde_relative']:.1%}) "
        "after variance reduction",
        f"variance removed by what is known before: {gain}",
        f"an effect of {relevant:.1%} needs {size['adjusted']:,} customers ({size['raw']:,} without it)",
        f"with these customers an effect of {lasting}",
        f"{held['customers']:,} customers get no message: if the effect is {relevant:.1%}, they would have brought a "
        f"margin of {held['expected_margin']:,.2f} for messages of {held['saved_cost']:,.2f}",
    ]
