"""What a log says about the orders of its customers as of a cutoff, and what limits a forecast from it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from propensity.data.event_log import EventLog, to_date
from propensity.errors import DataError
from propensity.kernel.event import PURCHASE, VIEW
from propensity.kernel.order_day import OrderDays, order_days

BOUND = 10.0  # times the 99.9 % quantile of the amounts of a day
HOLE = 182  # days without any order that a reader should know of
RECENT = 28  # days in which views have to have been recorded
LONG = 4  # times the past: a horizon beyond is little more than an assumption


class Question(NamedTuple):
    """The customers and orders that a forecast is made from.

    Parameters
    ----------
    orders : OrderDays
        Orders of all days, of the customers that are valued; a forecast reads those before the cutoff.
    visits : OrderDays
        Days with an order or a view, from which the alarm is; those with an order where views are not recorded.
    customer_id : numpy.ndarray of shape (N,)
        Their ids.
    first_day, cutoff : int
        First order and cutoff, in days since 1970-01-01.
    left_out : dict of str to int
        Customers that are not valued, by reason.
    warnings : list of str
        One sentence each.
    """

    orders: OrderDays
    visits: OrderDays
    customer_id: np.ndarray
    first_day: int
    cutoff: int
    left_out: dict[str, int]
    warnings: list[str]


def question(log: EventLog, cutoff: int, weeks: list[int]) -> Question:
    """Take the orders of the customers with an order before a cutoff, without guests and objectors to profiling.

    Parameters
    ----------
    log : EventLog
        The log.
    cutoff : int
        Days since 1970-01-01.
    weeks : list of int
        Lengths of the windows that are asked for.

    Raises
    ------
    DataError
        If no customer that may be valued has an order before the cutoff.
    """
    row = log.purchasers(cutoff)
    left_out = {"objects to profiling": int(log.objectors(cutoff).size)}
    left_out["guest"] = int(log.guests(cutoff).size) - left_out["objects to profiling"]
    if not row.size:
        raise DataError(
            f"no customer who may be valued has an order before {to_date(cutoff)}; use a later cutoff than that, or a "
            "log with customers who do not object to profiling"
        )
    whole = order_days(log.offsets, log.day, log.kind, log.revenue)
    visits = of_rows(visit_days(log, cutoff), row) if views_recorded(log, cutoff) else None
    orders, bounded = bounded_amounts(of_rows(whole, row), cutoff)
    past = orders.day < cutoff
    first = int(orders.day[past].min())
    warnings = [*_of_money(orders.revenue[past], bounded), *_of_time(log, orders.day[past], first, cutoff, weeks)]
    counts = {reason: count for reason, count in left_out.items() if count}
    return Question(orders, visits or orders, log.customer_id[row], first, cutoff, counts, warnings)


def views_recorded(log: EventLog, cutoff: int) -> bool:
    """Whether views have been recorded as steadily as orders: in the last `RECENT` days before a cutoff, and in those
    before, a view comes with as many orders up to a factor of 2."""
    day, kind = np.asarray(log.day), np.asarray(log.kind)
    ratios = []
    for low, high in ((cutoff - RECENT, cutoff), (cutoff - 2 * RECENT, cutoff - RECENT), (0, cutoff)):
        inside = (day >= low) & (day < high)
        ratios.append(float((kind[inside] == VIEW).sum()) / max(int((kind[inside] == PURCHASE).sum()), 1))
    return min(ratios) > 0 and max(ratios) <= 2 * min(ratios)


def visit_days(log: EventLog, cutoff: int) -> OrderDays:
    """Days with a purchase or a view before a cutoff, from each customer's first purchase on."""
    kind, day = np.asarray(log.kind), np.asarray(log.day)
    customer = np.repeat(np.arange(log.offsets.size - 1), np.diff(log.offsets))
    seen = ((kind == PURCHASE) | (kind == VIEW)) & (day < cutoff)
    first = np.full(log.offsets.size - 1, np.iinfo(np.int64).max)
    bought = kind == PURCHASE
    np.minimum.at(first, customer[bought], day[bought])
    seen &= day >= first[customer]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(customer[seen], minlength=log.offsets.size - 1))])
    number = int(seen.sum())
    return order_days(offsets, day[seen], np.full(number, PURCHASE, np.int8), np.ones(number))


def of_rows(orders: OrderDays, row: np.ndarray) -> OrderDays:
    """The orders of customers `row` (N,), ascending."""
    chosen = np.zeros(orders.offsets.size - 1, bool)
    chosen[row] = True
    counts = np.diff(orders.offsets)
    visible = np.repeat(chosen, counts)
    return OrderDays(np.concatenate([[0], np.cumsum(counts[row])]), orders.day[visible], orders.revenue[visible])


def bounded_amounts(orders: OrderDays, cutoff: int) -> tuple[OrderDays, int]:
    """Amounts of at most `BOUND` times a high quantile of those before the cutoff, and how many were above."""
    paid = orders.revenue[(orders.revenue > 0) & (orders.day < cutoff)]
    if paid.size < 2:
        return orders, 0
    # With fewer than a thousand orders it is the second largest amount, so that none sets its own bound.
    place = min(int(np.ceil(0.999 * paid.size)) - 1, paid.size - 2)
    bound = BOUND * float(np.partition(paid, place)[place])
    above = int((paid > bound).sum())
    return (orders._replace(revenue=np.minimum(orders.revenue, bound)) if above else orders), above


def _of_money(revenue: np.ndarray, bounded: int) -> list[str]:
    warnings = []
    if not (revenue > 0).any():
        warnings.append("no order has a revenue above 0: expected revenue is 0")
    elif revenue.size > 1 and np.ptp(revenue) == 0:
        warnings.append(f"every order has the same revenue ({revenue[0]:g}): the log may hold no amounts, only orders")
    elif (free := float((revenue <= 0).mean())) > 0.05:
        warnings.append(f"{free:.0%} of the orders have no revenue above 0; they count as orders of 0")
    if bounded:
        warnings.append(
            f"{bounded} orders are more than {BOUND:g} times the 99.9 % quantile of amounts, and count as that"
        )
    return warnings


def _of_time(log: EventLog, day: np.ndarray, first: int, cutoff: int, weeks: list[int]) -> list[str]:
    warnings, past = [], max(1, (cutoff - first) // 7)
    days = np.unique(day)
    if days.size == 1:
        warnings.append(f"all orders are of one day ({to_date(first)}): how often customers return is an assumption")
    elif (hole := int(np.diff(days).max())) > HOLE:
        at = int(days[np.diff(days).argmax()])
        warnings.append(
            f"the log has no order in the {hole - 1} days after {to_date(at)}; silence there counts as silence"
        )
    if cutoff > log.last_day + 28:
        warnings.append(
            f"the log ends on {to_date(log.last_day)}, {cutoff - log.last_day - 1} days before the cutoff; the days "
            "without data count as days without orders"
        )
    if max(weeks) > LONG * past:
        warnings.append(
            f"{max(weeks)} weeks are more than {LONG} times the {past} weeks of past: little more than a guess"
        )
    return warnings


def id_column(customer_id: np.ndarray) -> pl.Series:
    """Ids as a column of the type that the log has."""
    return pl.Series("customer_id", customer_id)
