"""The value of customers at a cutoff: probability of an order, orders, revenue and discounted value by weeks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.data.event_log import EventLog, to_date
from propensity.kernel.order_day import Recency, recency
from propensity.value.choose import choose
from propensity.value.model import MODELS, Expectation, ValueModel, fit
from propensity.value.parametric import NAMES
from propensity.value.question import Question, id_column, question
from propensity.value.rhythm import fit_rhythm
from propensity.value.season import on_clock

UPPER = 0.9
LEVELS = {
    "revenue_median": 0.5,
    "revenue_upper_75": 0.75,
    "revenue_upper_90": UPPER,
    "revenue_upper_95": 0.95,
    "revenue_upper_99": 0.99,
}
TIERS = (("high", 0.5), ("middle", 0.8), ("low", 1.0))  # share of the value that customers up to the tier hold
WEEKS_A_YEAR = 365.25 / 7
CURVE = (1, 2, 3, 4, 6, 8, 10, 13, 17, 21, 26, 32, 39, 45, 52, 65, 78, 91, 104)


class Valuation(NamedTuple):
    """Values of customers.

    Parameters
    ----------
    table : customer_id and weeks, a row for each pair
    curve : tier, week, share of customers who order within that many weeks, and who are still customers then
    summary : every number of the run, for JSON
    warnings : one sentence each
    """

    table: pl.DataFrame
    curve: pl.DataFrame
    summary: dict[str, Any]
    warnings: list[str]


def value_customers(
    log: EventLog,
    cutoff: int,
    weeks: list[int],
    margin: float = 1.0,
    discount: float = 0.1,
    false_alarms: float = 0.1,
    seed: int = 17,
    models: Sequence[str] = MODELS,
) -> Valuation:
    """Value every customer with an order before a cutoff, except guests and objectors to profiling.

    Parameters
    ----------
    log : EventLog
        The log; events from the cutoff on are not read.
    cutoff : int
        Days since 1970-01-01.
    weeks : list of int
        Lengths of windows after the cutoff.
    margin : float
        Share of revenue that is margin.
    discount : float
        Yearly rate at which later margin counts for less.
    false_alarms : float
        Share of staying customers with an alarm in 13 weeks.
    seed : int
        Seed of samples, trees and network.
    models : sequence of str
        Learners that the last closed window chooses from: `trees`, `network`.

    Returns
    -------
    Valuation
        Its table has, for each customer and length: `p_active`, the probability of an order in those weeks;
        `expected_orders`; `expected_revenue` and `expected_margin`; `discounted_value`, the margin discounted to the
        cutoff; `revenue_median` and `revenue_upper_75`, `_90`, `_95` and
        `_99`, quantiles of the customer's revenue, whose mass at zero is one minus `p_active`;
        `p_alive`, the probability that the customer is still one at the end of the weeks; `tier`; `behind`, the
        probability that a customer who stays would have ordered again by the cutoff; and `alarm_since`.

    Raises
    ------
    DataError
        If no customer can be valued.
    """
    ascending = sorted(set(weeks))
    asked = question(log.until(cutoff), cutoff, ascending)
    choice = choose(asked.orders, asked.first_day, cutoff, ascending, seed, models)
    model = fit(asked.orders, asked.first_day, cutoff, ascending, choice.weights, seed, choice.name, choice.drift,
                choice.learners)  # fmt: skip
    state = recency(asked.orders, cutoff)
    grid = sorted({*ascending, *(week for week in CURVE if week <= ascending[-1])})
    expected = model.expect(asked.orders, cutoff, ascending)
    warnings = [*asked.warnings, *_of_model(model, ascending)]
    timed, _ = on_clock(model.parametric.clock, state, cutoff, np.zeros(0))
    alive = survival(model, timed, grid)
    money = money_columns(expected, ascending, margin, discount)
    tier = tiers(money["discounted_value"][:, -1])
    table = _table(asked, ascending, expected, money, model, alive[:, [grid.index(w) for w in ascending]], tier)
    table = table.join(alarms(asked, false_alarms), on="customer_id", how="left", maintain_order="left")
    curve = _curve(grid, tier, timed, model, expected, ascending, alive)
    summary = _summary(asked, ascending, expected, model, choice.table, tier, money)
    summary |= {"currency": log.meta.get("currency"), "margin": margin, "discount": discount, "warnings": warnings}
    return Valuation(table, curve, summary, warnings)


def _of_model(model: ValueModel, weeks: list[int]) -> list[str]:
    if not model.longest:
        return ["no window of the past could be learned from: values are those of the buy-till-you-die model alone"]
    beyond = ", ".join(str(w) for w in weeks if w > model.longest)
    if not beyond:
        return []
    return [
        f"the log is too short to learn from windows of {beyond} weeks; beyond {model.longest} they are extrapolated"
    ]


def survival(model: ValueModel, state: Recency, weeks: list[int]) -> np.ndarray:
    """Probability that a customer is still one after each of `weeks`: (N, W).

    It is the rate of orders then over the rate of a living customer now, which for Pareto/NBD is exact.
    """
    steps = sorted({1, *weeks, *(week + 1 for week in weeks)})
    _, orders = model.parametric.orders.forecast(state, np.array(steps, float))
    alive = model.parametric.orders.alive(state)[:, None]
    later = np.stack([orders[:, steps.index(w + 1)] - orders[:, steps.index(w)] for w in weeks], axis=1)
    share = later / np.maximum(orders[:, :1], 1e-300)
    return np.minimum.accumulate(np.clip(alive * share, 0.0, alive), axis=1)


def money_columns(expected: Expectation, weeks: list[int], margin: float, discount: float) -> dict[str, np.ndarray]:
    """Margin, and margin discounted to the cutoff from the middle of each stretch between two lengths: (N, W)."""
    gains = np.diff(expected.revenue, axis=1, prepend=0.0) * margin
    ends = np.array(weeks, float)
    middle = 0.5 * (ends + np.concatenate([[0.0], ends[:-1]])) / WEEKS_A_YEAR
    discounted = np.cumsum(gains * (1.0 + discount) ** -middle, axis=1)
    return {"expected_margin": expected.revenue * margin, "discounted_value": discounted}


def tiers(value: np.ndarray) -> np.ndarray:
    """Tier of each customer by descending value: high holds the first half of all value, middle 80 % with it.

    Examples
    --------
    >>> tiers(np.array([60.0, 25.0, 10.0, 5.0])).tolist()
    ['high', 'middle', 'low', 'low']
    """
    order = np.argsort(-value, kind="stable")
    before = np.concatenate([[0.0], np.cumsum(value[order])[:-1]]) / max(float(value.sum()), 1e-300)
    names, bounds = np.array([name for name, _ in TIERS]), np.array([bound for _, bound in TIERS[:-1]])
    result = np.empty(value.size, object)
    result[order] = names[np.searchsorted(bounds, before, side="right")] if value.sum() > 0 else TIERS[-1][0]
    return result


def _table(
    asked: Question, weeks: list[int], expected: Expectation, money: dict[str, np.ndarray], model: ValueModel,
    alive: np.ndarray, tier: np.ndarray,
) -> pl.DataFrame:  # fmt: skip
    """The long table: customers in the order of the log, weeks ascending."""
    size = len(weeks)
    columns: dict[str, Any] = {
        "customer_id": id_column(np.repeat(asked.customer_id, size)),
        "weeks": np.tile(np.array(weeks, np.int32), asked.customer_id.size),
        "p_active": expected.active.ravel(),
        "expected_orders": expected.orders.ravel(),
        "expected_revenue": expected.revenue.ravel(),
        **{name: column.ravel() for name, column in money.items()},
    }
    for name, level in LEVELS.items():
        parts = [model.shape.quantile(level, *(column[:, w] for column in expected)) for w in range(size)]
        columns[name] = np.maximum.accumulate(np.stack(parts, axis=1), axis=1).ravel()
    columns |= {"p_alive": alive.ravel(), "tier": pl.Series(np.repeat(tier, size).tolist(), dtype=pl.String)}
    return pl.DataFrame(columns)


def alarms(asked: Question, false_alarms: float) -> pl.DataFrame:
    """How far each customer is behind his own rhythm, and the day on which the alarm rang, null if it did not."""
    state = recency(asked.visits, asked.cutoff)
    rhythm = fit_rhythm(state, asked.visits, asked.cutoff)
    last = asked.cutoff - 1 - np.round((state.t_end - state.t_x) * 7).astype(np.int64)
    rings = last + np.ceil(np.minimum(rhythm.alarm(state, false_alarms), 10_000.0) * 7).astype(np.int64)
    since = pl.Series(np.where(rings < asked.cutoff, rings, -1)).cast(pl.Int32)
    frame = pl.DataFrame(
        {
            "customer_id": id_column(asked.customer_id),
            "silence_weeks": np.maximum(state.t_end - state.t_x, 0.0),
            "usual_gap_weeks": rhythm.usual(state),
            "behind": rhythm.behind(state),
            "alarm_since": since,
        }
    )
    day = pl.when(pl.col("alarm_since") >= 0).then(pl.col("alarm_since")).cast(pl.Date)
    return frame.with_columns(day.alias("alarm_since"))


def _curve(
    grid: list[int], tier: np.ndarray, state: Recency, model: ValueModel, expected: Expectation, weeks: list[int],
    alive: np.ndarray,
) -> pl.DataFrame:  # fmt: skip
    """Mean probabilities by tier and week; between two lengths, the model's own curve on the scale of hazards."""
    active, _ = model.parametric.orders.forecast(state, np.array(grid, float))
    own = -np.log1p(-np.clip(active, 1e-12, 1 - 1e-9))
    given = -np.log1p(-np.clip(expected.active, 1e-12, 1 - 1e-9))
    places = [grid.index(w) for w in weeks]
    ratio = given / own[:, places]
    rows = []
    for name in [name for name, _ in TIERS]:
        of_tier = tier == name
        if not of_tier.any():
            continue
        for k, week in enumerate(grid):
            near = min(int(np.searchsorted(weeks, week)), len(weeks) - 1)
            p = -np.expm1(-own[of_tier, k] * ratio[of_tier, near])
            rows.append((name, week, float(p.mean()), float(alive[of_tier, k].mean())))
    columns = ["tier", "week", "ordered", "alive"]
    curve = pl.DataFrame(rows, schema=columns, orient="row")
    return curve.with_columns(pl.col("ordered").cum_max().over("tier"))


def _summary(
    asked: Question, weeks: list[int], expected: Expectation, model: ValueModel, closed: dict[str, Any],
    tier: np.ndarray, money: dict[str, np.ndarray],
) -> dict[str, Any]:  # fmt: skip
    spend = model.parametric.spend
    totals = {
        str(w): {
            "active": float(expected.active[:, k].sum()),
            "orders": float(expected.orders[:, k].sum()),
            "revenue": float(expected.revenue[:, k].sum()),
            "discounted_value": float(money["discounted_value"][:, k].sum()),
        }
        for k, w in enumerate(weeks)
    }
    value = money["discounted_value"][:, -1]
    parameters = dict(
        zip(NAMES[model.parametric.orders.name], model.parametric.orders.parameters.tolist(), strict=True)
    )
    return {
        "cutoff": to_date(asked.cutoff).isoformat(),
        "weeks": weeks,
        "customers": int(asked.customer_id.size),
        "left_out": asked.left_out,
        "expected": totals,
        "tiers": {
            name: {"customers": int((tier == name).sum()), "value": float(value[tier == name].sum())}
            for name, _ in TIERS
        },
        "model": {
            "orders": {"name": model.parametric.orders.name, **parameters},
            "amounts": None if spend is None else {"name": "gamma_gamma", **spend._asdict()},
            "learners": list(model.learners),
            "longest_closed_window": model.longest,
            "weights": model.weights._asdict(),
        },
        "last_closed_window": closed,
    }
