"""What a campaign plan is asked for: campaigns, caps and limits, turned into the arrays of a planning problem."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.data.event_log import EPOCH, to_date, to_day
from propensity.decision.context import DecisionContext, tie_break
from propensity.decision.plan.planner import Problem
from propensity.decision.setting import check_kinds
from propensity.errors import ConfigurationError, InfeasibleError
from propensity.kernel.contact_cap import EDGE, WEEK, Calendar
from propensity.kernel.plan import Limits

LARGEST_RECURSION = 3  # contacts a day up to which rolling weeks are planned exactly: 4^6 states; 5^6 take minutes


@dataclass
class Campaign:
    """One message about one offer.

    days: on which it may be sent, counted from the send date (0); a customer gets it once. least, most: customers it
    goes to (most None: no end); cost of a message (None: that of the plan); priority: 1 goes first, where priorities
    count; pinned: takes its best customers before the plan is made, by priority; where: an SQL condition on customers;
    recent: nobody who bought the offer in that many days; weight: factor on the value.
    """

    offer: str
    name: str = ""
    days: Sequence[int] = (0,)
    channel: str | None = None
    least: int = 0
    most: int | None = None
    cost: float | None = None
    priority: int | None = None
    pinned: bool = False
    where: str | None = None
    recent: int | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        self.name = self.name or self.offer
        self.days = sorted(set(self.days))
        if not self.days or self.days[0] < 0:
            raise ConfigurationError(f"campaign {self.name}: days={self.days} must count from the send date, from 0 on")
        if self.least < 0 or (self.most is not None and self.most < 1):
            raise ConfigurationError(
                f"campaign {self.name}: least is 0 or more and most 1 or more, not {self.least}, {self.most}"
            )
        if self.most is not None and self.least > self.most:
            raise ConfigurationError(f"campaign {self.name}: least={self.least} is above most={self.most}; lower it")
        if not self.weight > 0:
            raise ConfigurationError(f"campaign {self.name}: weight={self.weight} must be above 0")


def campaign_of(given: Mapping[str, Any]) -> Campaign:
    """A campaign from its entry in YAML; ConfigurationError for a key that there is not."""
    known = [f.name for f in fields(Campaign)]
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0.0)[0]
            raise ConfigurationError(f"a campaign has no setting {key}; did you mean {near}?")
    if "offer" not in given:
        raise ConfigurationError(f"campaign {dict(given)} names no offer; add offer: <one of the scored>")
    one_day = {"days": [given["days"]]} if isinstance(given.get("days"), int) else {}
    check_kinds({**given, **one_day}, Campaign, f"campaign {given['offer']}: ")
    return Campaign(**{**given, **one_day})


@dataclass
class Rules:
    """What a plan keeps: at most `day` contacts a customer and day and `week` in any seven days (`rolling`) or a
    calendar week from Monday on; capacity: messages a channel and day; budget in money; exclusive: pairs of campaigns
    of which a customer gets one at most."""

    day: int = 1
    week: int = 3
    rolling: bool = True
    capacity: Mapping[str, int] = field(default_factory=dict)
    budget: float | None = None
    exclusive: Sequence[Sequence[str]] = ()

    def __post_init__(self) -> None:
        for name in ("day", "week"):
            if getattr(self, name) < 1:
                raise ConfigurationError(
                    f"decision.{name}={getattr(self, name)} lets nobody be written to; give 1 or more"
                )
        if self.budget is not None and not self.budget >= 0:
            raise ConfigurationError(f"decision.budget={self.budget} is below 0; give 0 or more")
        for channel, most in self.capacity.items():
            if most < 0:
                raise ConfigurationError(f"decision.capacity.{channel}={most} is below 0; give 0 or more")


class Request(NamedTuple):
    """A planning problem and what its numbers stand for: campaigns by column, slot -> campaign and day, and for each
    limit a sentence. first: the day the plan begins, as a number."""

    problem: Problem
    campaigns: list[Campaign]
    slot_day: np.ndarray
    rule: list[str]
    first: int


def request(
    context: DecisionContext, campaigns: Sequence[Campaign], rules: Rules, margin: float, cost: float
) -> Request:
    """Arrays out of wishes.

    Args: margin: share of the expected revenue that is earned; cost of a message where a campaign names none.
    Raises: ConfigurationError for a request that contradicts itself, InfeasibleError where a campaign's least is beyond
    its eligible customers, a capacity or the budget.
    """
    check(campaigns, rules)
    first, days = to_day(context.scores.cutoff), 1 + max(max(c.days) for c in campaigns)
    pairs = sorted((d, c) for c, campaign in enumerate(campaigns) for d in campaign.days)
    day, column = (np.array(part, np.int64) for part in zip(*pairs, strict=True))
    value = np.stack([worth(context, campaign, margin) for campaign in campaigns], axis=1)
    used = promised(context, first, days)
    week = (np.arange(first - EDGE, first + days + EDGE) + 3) // WEEK  # 1970-01-01 was a Thursday
    rolling = rules.rolling
    if rolling and days <= WEEK and not used.any():
        rolling, week = False, np.zeros_like(week)  # one window holds them all
    start, day_cap = np.searchsorted(day, np.arange(days + 1)).astype(np.int64), rules.day
    if rolling and day_cap > LARGEST_RECURSION:
        day_cap = min(day_cap, rules.week, int(np.diff(start).max()))  # a day cannot hold more than that anyway
    if rolling and day_cap > LARGEST_RECURSION:
        raise ConfigurationError(
            f"rolling weeks with {rules.week} contacts, {day_cap} of them on one day, are too many to plan; give "
            f"decision.day={LARGEST_RECURSION} or less, spread campaigns over more days, or set decision.rolling=false"
        )
    calendar = Calendar(
        campaign=column,
        weight=np.array([campaigns[c].weight for c in column]),
        start=start,
        week=week.astype(np.int64),
        clash=clashes(campaigns, column, rules),
        day_cap=day_cap,
        week_cap=rules.week,
        rolling=rolling,
    )
    costs = np.array([cost if campaigns[c].cost is None else float(campaigns[c].cost or 0.0) for c in column])
    limits, rule = limits_of(campaigns, column, day, first, costs, np.isfinite(value).sum(axis=0), rules)
    order = np.argsort(tie_break(context.scores.customer), kind="stable")
    return Request(Problem(value, costs, used, calendar, limits, order=order), list(campaigns), day, rule, first)


def check(campaigns: Sequence[Campaign], rules: Rules) -> None:
    """ConfigurationError for campaigns that contradict each other."""
    if not campaigns:
        raise ConfigurationError("there is no campaign to plan; name one in decision.campaigns")
    names = [campaign.name for campaign in campaigns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(f"campaign {twice[0]} is listed twice; give each a name of its own")
    for pair in rules.exclusive:
        if unknown := [name for name in pair if name not in names]:
            raise ConfigurationError(
                f"decision.exclusive names {unknown[0]}, which is no campaign; there are {', '.join(names)}"
            )
        if len(pair) != 2 or pair[0] == pair[1]:
            raise ConfigurationError(f"decision.exclusive={list(pair)} must name two campaigns")
    channels = {campaign.channel for campaign in campaigns}
    if unknown := sorted(set(rules.capacity) - {str(c) for c in channels}):
        raise ConfigurationError(
            f"decision.capacity.{unknown[0]} is the channel of no campaign; name it in one, or drop it"
        )
    pinned: dict[int | None, str] = {}
    for campaign in (c for c in campaigns if c.pinned):
        if campaign.priority is None:
            raise ConfigurationError(f"campaign {campaign.name} is pinned and has no priority; give it one")
        if campaign.priority in pinned:
            raise ConfigurationError(
                f"campaigns {pinned[campaign.priority]} and {campaign.name} are both pinned with priority "
                f"{campaign.priority}; give each its own"
            )
        pinned[campaign.priority] = campaign.name


def worth(context: DecisionContext, campaign: Campaign, margin: float) -> np.ndarray:
    """(N,) float32 expected margin of a message, -inf where the customer may not get it."""
    m = context.offer(campaign.offer)
    free = context.reachable(campaign.channel)
    if campaign.where is not None:
        free &= context.where(campaign.where)
    if campaign.recent is not None:
        if context.past is None:
            raise ConfigurationError(f"campaign {campaign.name}: recent needs the event log; give log=<folder>")
        last = context.past.pairs(context.past.rows(context.scores.customer), (campaign.offer,), "recency")[:, 0]
        free &= ~(last <= campaign.recent)
    if not free.any():
        raise InfeasibleError(
            f"campaign {campaign.name} may go to nobody: all {free.size} customers are suppressed, have not consented "
            "or are filtered out; loosen its filter, or drop it"
        )
    return np.where(free, margin * context.scores.revenue[:, m], -np.inf).astype(np.float32)


def promised(context: DecisionContext, first: int, days: int) -> np.ndarray:
    """(N, EDGE+days+EDGE) uint8 contacts already promised, or one row of zeros."""
    none = np.zeros((1, days + 2 * EDGE), np.uint8)
    if context.contacts is None:
        return none
    ids = pl.DataFrame({"customer_id": [str(c) for c in context.scores.customer.tolist()]}).with_row_index("row")
    start = EPOCH + timedelta(days=first - EDGE)
    found = context.contacts.join(ids, on="customer_id").with_columns(at=(pl.col("day") - start).dt.total_days())
    found = found.filter(pl.col("at").is_between(0, none.shape[1] - 1))
    if found.is_empty():
        return none
    used = np.zeros((context.scores.customer.size, none.shape[1]), np.int64)
    np.add.at(used, (found["row"].to_numpy(), found["at"].to_numpy()), 1)
    return np.minimum(used, 255).astype(np.uint8)


def clashes(campaigns: Sequence[Campaign], column: np.ndarray, rules: Rules) -> np.ndarray:
    """(S, S) slots of which a customer gets one at most; (0, 0) where there are none."""
    number = {campaign.name: c for c, campaign in enumerate(campaigns)}
    apart = np.eye(len(campaigns), dtype=bool)
    for a, b in rules.exclusive:
        apart[number[a], number[b]] = apart[number[b], number[a]] = True
    clash = apart[np.ix_(column, column)]
    np.fill_diagonal(clash, False)
    return clash if clash.any() else np.zeros((0, 0), bool)


def limits_of(
    campaigns: Sequence[Campaign],
    column: np.ndarray,
    day: np.ndarray,
    first: int,
    cost: np.ndarray,
    eligible: np.ndarray,
    rules: Rules,
) -> tuple[Limits, list[str]]:
    """Audiences, capacities and the budget as rows over slots, each with its sentence."""
    rows, least, most, rule = [], [], [], []
    for c, campaign in enumerate(campaigns):
        if campaign.least > eligible[c]:
            raise InfeasibleError(
                f"campaign {campaign.name} wants at least {campaign.least} customers and {eligible[c]} are eligible; "
                "lower its least or loosen its filter"
            )
        rows.append((column == c).astype(float))
        least.append(campaign.least)
        most.append(min(eligible[c], campaign.most or eligible[c]))
        rule.append(f"audience of {campaign.name}")
    wanted = np.array([campaigns[c].least if len(campaigns[c].days) == 1 else 0 for c in column])
    for channel, room in rules.capacity.items():
        through = np.array([campaigns[c].channel == channel for c in column])
        for d in np.unique(day[through]):
            row = (through & (day == d)).astype(float)
            name = f"{channel} on {to_date(first + d)}"
            if row @ wanted > room:
                names = ", ".join(campaigns[c].name for c in column[row > 0] if campaigns[c].least)
                raise InfeasibleError(
                    f"{names} want at least {row @ wanted:.0f} messages by {name}, whose capacity is {room}; lower a "
                    "least or raise the capacity"
                )
            rows.append(row)
            least.append(0)
            most.append(room)
            rule.append(name)
    if rules.budget is not None:
        cheapest = np.array([cost[column == c].min() for c in range(len(campaigns))])
        if (needed := float(cheapest @ np.array([c.least for c in campaigns]))) > rules.budget + 1e-9:
            names = ", ".join(campaign.name for campaign in campaigns if campaign.least)
            raise InfeasibleError(
                f"the least audiences of {names} cost {needed:,.2f} and the budget is {rules.budget:,.2f}; "
                "lower a least or raise the budget"
            )
        rows.append(cost)
        least.append(0)
        most.append(rules.budget)
        rule.append("budget")
    limits = Limits(np.array(rows, np.float64), np.array(least, np.float64), np.array(most, np.float64))
    return limits, rule
