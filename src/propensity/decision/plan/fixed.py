"""Fixed contacts of triggers, which are placed before campaigns are planned, and those that have no place."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from propensity.data.event_log import to_date
from propensity.decision.context import tie_break
from propensity.decision.plan.heuristic import Pinned, of_picks, pin, without
from propensity.decision.plan.request import Request, Triggered
from propensity.errors import InfeasibleError
from propensity.kernel.plan import Limits, take_in_order

CAPS, LIMITS = "contact caps", "a capacity or the budget"
FIXED = "fixed contacts of triggers"


class Fixed(NamedTuple):
    """Contacts of triggers and of pinned campaigns.

    Attributes
    ----------
    pinned : Pinned
        Their contacts, and the request that remains for the planner.
    unplaced : pl.DataFrame
        customer_id, trigger, step, day (due), reason: fixed contacts that caps or limits leave no place.
    """

    pinned: Pinned
    unplaced: pl.DataFrame


def place_fixed(request: Request, customer: np.ndarray) -> Fixed:
    """Place the fixed contacts of triggers, then the pinned campaigns.

    Parameters
    ----------
    request : Request
        The whole request; fixed triggers in the order in which they are placed.
    customer : np.ndarray
        (N,) ids, which order customers where a limit does not reach all.

    Returns
    -------
    Fixed
        Contacts, and what has no place.

    Raises
    ------
    InfeasibleError
        If a required trigger or the least of a pinned campaign has no place.
    """
    columns = [c for c, campaign in enumerate(request.campaigns) if isinstance(campaign, Triggered) and campaign.fixed]
    if not columns:
        return Fixed(pin(request, customer), _unplaced(request, customer, np.zeros((0, 3), np.int64)))
    picks, usage = _taken(request, customer, columns, request.problem.limits)
    free = request.problem.limits._replace(most=np.full_like(request.problem.limits.most, np.inf))
    by_caps = _contacts(request, _taken(request, customer, columns, free)[0])
    missing = _missing(request, columns, _contacts(request, picks), by_caps)
    unplaced = _unplaced(request, customer, missing)
    _require_places(request, unplaced)
    remaining = without(request, picks, usage, set(columns))
    pinned = pin(remaining, customer, [FIXED])
    both = np.concatenate([picks, pinned.picks], axis=1)
    both = np.take_along_axis(both, np.argsort(both < 0, axis=1, kind="stable"), axis=1)
    value = of_picks("", request.problem, picks).value + pinned.value
    return Fixed(Pinned(pinned.remaining, both, value), unplaced)


def _taken(request: Request, customer: np.ndarray, columns: list[int], limits: Limits) -> tuple[np.ndarray, np.ndarray]:
    """Picks (N, P) and usage (R,) of the fixed contacts, each on the first of its days that caps and limits allow."""
    problem, order = request.problem, np.argsort(tie_break(customer), kind="stable")
    picks = np.full((problem.value.shape[0], max(problem.most_contacts, 1)), -1, np.int16)
    usage = np.zeros(limits.most.size)
    for c in columns:
        slots = np.flatnonzero(problem.calendar.campaign == c)
        who = order[np.isfinite(problem.value[order, c])]
        row, slot = np.repeat(who, slots.size), np.tile(slots, who.size)
        take_in_order(row, slot, problem.used, problem.calendar, limits, picks, usage)
    return picks, usage


def _contacts(request: Request, picks: np.ndarray) -> np.ndarray:
    """(N, C) bool: who gets which campaign."""
    sent = np.zeros(request.problem.value.shape, dtype=bool)
    row, place = np.nonzero(picks >= 0)
    sent[row, request.problem.calendar.campaign[picks[row, place].astype(np.int64)]] = True
    return sent


def _missing(request: Request, columns: list[int], placed: np.ndarray, by_caps: np.ndarray) -> np.ndarray:
    """(n, 3) row, column, and whether the caps alone leave a place."""
    wanted = np.zeros_like(placed)
    wanted[:, columns] = np.isfinite(request.problem.value[:, columns])
    row, column = np.nonzero(wanted & ~placed)
    return np.column_stack([row, column, by_caps[row, column]])


def _unplaced(request: Request, customer: np.ndarray, missing: np.ndarray) -> pl.DataFrame:
    """The contacts without a place as a table."""
    campaigns = [request.campaigns[c] for c in missing[:, 1].tolist()]
    due = [campaign for campaign in campaigns if isinstance(campaign, Triggered)]
    table = pl.DataFrame(
        {
            "customer_id": pl.Series(customer).gather(missing[:, 0]),
            "trigger": [campaign.trigger for campaign in due],
            "step": [campaign.step for campaign in due],
            "day": [to_date(request.first + campaign.days[0]) for campaign in due],
            "reason": [LIMITS if allowed else CAPS for allowed in missing[:, 2].tolist()],
        },
        schema_overrides={"trigger": pl.String, "step": pl.Int64, "day": pl.Date, "reason": pl.String},
    )
    return table.sort("trigger", "step", "day", "customer_id")


def _require_places(request: Request, unplaced: pl.DataFrame) -> None:
    """Refuse a plan in which a required message has no place."""
    required = {c.trigger for c in request.campaigns if isinstance(c, Triggered) and c.required}
    lost = unplaced.filter(pl.col("trigger").is_in(list(required)))
    if lost.height:
        first = lost.row(0, named=True)
        reasons = " and ".join(lost["reason"].unique().sort())
        raise InfeasibleError(
            f"trigger {first['trigger']} is required and {lost.height:,} of its messages have no place under "
            f"{reasons}, such as that of customer {first['customer_id']} on {first['day']}; raise a cap or limit, "
            "let the message be late with flexible, give the trigger a lower priority number, or drop required"
        )


def trigger_table(counted: pl.DataFrame, contacts: pl.DataFrame, unplaced: pl.DataFrame) -> pl.DataFrame:
    """One row per trigger and step: messages due, not eligible, sent, late and without a place.

    Parameters
    ----------
    counted : pl.DataFrame
        trigger, step, due, not_eligible; see `propensity.decision.plan.trigger.due_messages`.
    contacts : pl.DataFrame
        trigger, step, late (bool) of the contacts of triggers.
    unplaced : pl.DataFrame
        See `Fixed`.
    """
    sent = contacts.group_by("trigger", "step").agg(sent=pl.len(), late=pl.col("late").sum())
    lost = unplaced.group_by("trigger", "step").agg(
        over_caps=(pl.col("reason") == CAPS).sum(), over_limits=(pl.col("reason") == LIMITS).sum()
    )
    joined = counted.join(sent, on=["trigger", "step"], how="left", maintain_order="left")
    joined = joined.join(lost, on=["trigger", "step"], how="left", maintain_order="left")
    names = ("sent", "late", "over_caps", "over_limits")
    return joined.with_columns(pl.col(name).fill_null(0).cast(pl.Int64) for name in names)


def trigger_sentences(table: pl.DataFrame) -> list[str]:
    """What became of the messages of triggers, in words."""
    if not table.height:
        return []
    total = {name: int(table[name].sum()) for name in table.columns if name not in ("trigger", "step")}
    sentence = f"triggers: {total['sent']:,} of {total['due']:,} due messages are sent, {total['late']:,} of them late"
    reasons = {
        "to customers who may not be contacted or are filtered out": total["not_eligible"],
        "have no place under the contact caps": total["over_caps"],
        "have no place under a capacity or the budget": total["over_limits"],
    }
    return ["; ".join([sentence, *(f"{count:,} {reason}" for reason, count in reasons.items() if count)])]
