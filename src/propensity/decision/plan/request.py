"""Campaigns, contact caps and limits as settings, and as the arrays of a planning problem."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.data.consent import channel_key, channel_keys
from propensity.data.event_log import EPOCH, to_date, to_day
from propensity.decision.context import DecisionContext, tie_break
from propensity.decision.plan.problem import Problem
from propensity.decision.setting import check_kinds
from propensity.errors import ConfigurationError, InfeasibleError
from propensity.ingest.rule.matching import rows_of
from propensity.kernel.contact_cap import EDGE, WEEK, Calendar
from propensity.kernel.event import MESSAGE
from propensity.kernel.plan import Limits

LARGEST_RECURSION = 3  # contacts a day up to which rolling weeks are planned exactly: 4^6 states; 5^6 take minutes


@dataclass
class Campaign:
    """One message about one offer, which a customer gets at most once.

    Parameters
    ----------
    offer : str
        Offer id.
    name : str
        Of the campaign; empty: the offer.
    days : Sequence[int]
        On which it may be sent, counted from the cutoff (0).
    channel : str, optional
        Only customers who consent to it. None: those who consent to at least one.
    least, most : int
        Smallest and largest number of customers; `most` None: no limit.
    cost : float, optional
        Money per message; None: the cost of the plan.
    priority : int, optional
        1 comes first, in the order of pinned campaigns and of the fixed list.
    pinned : bool
        Takes its best customers before the others are planned, by priority.
    where : str, optional
        SQL condition on customers.
    recent : int, optional
        Days; leaves out customers who bought the offer within them.
    weight : float
        Factor on the value of a message, above 0.
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
            raise ConfigurationError(f"campaign {self.name}: days={self.days} count from the cutoff; give 0 or more")
        if self.least < 0 or (self.most is not None and self.most < 1):
            raise ConfigurationError(
                f"campaign {self.name}: least is 0 or more and most 1 or more, not {self.least}, {self.most}"
            )
        if self.most is not None and self.least > self.most:
            raise ConfigurationError(f"campaign {self.name}: least={self.least} is above most={self.most}; lower it")
        if not self.weight > 0:
            raise ConfigurationError(f"campaign {self.name}: weight={self.weight} must be above 0")


@dataclass
class Triggered(Campaign):
    """The messages of a trigger that are due on one day.

    Parameters
    ----------
    trigger : str
        Name of the rule.
    step : int
        Days after its event.
    label : str
        Of the campaign in tables, the same on every day.
    fixed : bool
        Sent on its day before other campaigns are planned, whatever its value; otherwise planned with them.
    required : bool
        A message that has no place makes the plan infeasible.
    due : np.ndarray
        (N,) bool, customers whose message is due and who may get it.
    worth : float
        Money that a message is worth beside the margin of its offer.
    """

    trigger: str = ""
    step: int = 0
    label: str = ""
    fixed: bool = True
    required: bool = False
    due: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    worth: float = 0.0


def campaign_of(settings: Mapping[str, Any]) -> Campaign:
    """A campaign from its entry in YAML; ConfigurationError for an unknown key or a value of the wrong kind."""
    keys = [f.name for f in fields(Campaign)]
    for key in settings:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, 1, 0.0)[0]
            raise ConfigurationError(f"a campaign has no setting {key}; did you mean {near}?")
    if "offer" not in settings:
        raise ConfigurationError(f"campaign {dict(settings)} names no offer; add offer: <one of the scored>")
    one_day = {"days": [settings["days"]]} if isinstance(settings.get("days"), int) else {}
    check_kinds({**settings, **one_day}, Campaign, f"campaign {settings['offer']}: ")
    return Campaign(**{**settings, **one_day})


@dataclass
class PlanLimits:
    """Contact caps and limits of a plan.

    Parameters
    ----------
    day, week : int
        Most contacts of a customer in a day, and in a week, over all channels.
    rolling : bool
        A week is any seven days; otherwise a calendar week from Monday on.
    capacity : Mapping[str, int]
        Most messages a day by channel.
    budget : float, optional
        Money for all messages.
    exclusive : Sequence[Sequence[str]]
        Pairs of campaigns of which a customer gets one at most.
    """

    day: int = 1
    week: int = 3
    rolling: bool = True
    capacity: Mapping[str, int] = field(default_factory=dict)
    budget: float | None = None
    exclusive: Sequence[Sequence[str]] = ()

    def __post_init__(self) -> None:
        for name in ("day", "week"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"decision.{name}={getattr(self, name)} allows no contact; give 1 or more")
        if self.budget is not None and not self.budget >= 0:
            raise ConfigurationError(f"decision.budget={self.budget} is below 0; give 0 or more")
        for channel, most in self.capacity.items():
            if most < 0:
                raise ConfigurationError(f"decision.capacity.{channel}={most} is below 0; give 0 or more")


class Request(NamedTuple):
    """A planning problem and the meaning of its arrays.

    Attributes
    ----------
    problem : Problem
        C campaigns, S slots, R limits.
    campaigns : list[Campaign]
        By column (C).
    slot_day : np.ndarray
        (S,) days after the cutoff.
    limit_name : list[str]
        (R) what each limit is, in words.
    first : int
        The cutoff, in days since 1970-01-01.
    """

    problem: Problem
    campaigns: list[Campaign]
    slot_day: np.ndarray
    limit_name: list[str]
    first: int


def build_request(
    context: DecisionContext, campaigns: Sequence[Campaign], plan_limits: PlanLimits, margin: float, cost: float
) -> Request:
    """The planning problem of campaigns and limits.

    Parameters
    ----------
    context : DecisionContext
        Scores, consents, and contacts promised or already made.
    campaigns : Sequence[Campaign]
        At least one.
    plan_limits : PlanLimits
        Contact caps, capacities, budget and exclusive campaigns.
    margin : float
        Share of the expected revenue that is earned.
    cost : float
        Money per message, where a campaign has no cost of its own.

    Returns
    -------
    Request
        The arrays and their meaning.

    Raises
    ------
    ConfigurationError
        If the request contradicts itself.
    InfeasibleError
        If the scores expect no revenue, or a campaign's `least` is more than its eligible customers, a capacity or the
        budget allow.
    """
    context.require_revenue()
    check([c for c in campaigns if not isinstance(c, Triggered)], plan_limits, [c.channel for c in campaigns])
    value = np.stack([contact_value(context, campaign, margin) for campaign in campaigns], axis=1)
    return request_of(context, campaigns, plan_limits, value, cost)


def request_of(
    context: DecisionContext, campaigns: Sequence[Campaign], plan_limits: PlanLimits, value: np.ndarray, cost: float
) -> Request:
    """The planning problem of contacts whose values are known.

    Parameters
    ----------
    context : DecisionContext
        Consents, and contacts promised or already made.
    campaigns : Sequence[Campaign]
        At least one, that do not contradict each other.
    plan_limits : PlanLimits
        Contact caps, capacities, budget and exclusive campaigns.
    value : np.ndarray
        (N, C) float32 money of a contact before cost, -inf where the customer is not eligible.
    cost : float
        Money per message, where a campaign has no cost of its own.

    Returns
    -------
    Request
        The arrays and their meaning.

    Raises
    ------
    ConfigurationError
        If the contact caps cannot be planned exactly.
    InfeasibleError
        If a campaign's `least` is more than its eligible customers, a capacity or the budget allow.
    """
    first, days = to_day(context.scores.cutoff), 1 + max(max(c.days) for c in campaigns)
    pairs = sorted((d, c) for c, campaign in enumerate(campaigns) for d in campaign.days)
    day, column = (np.array(part, np.int64) for part in zip(*pairs, strict=True))
    used = promised_contacts(context, first, days)
    week = (np.arange(first - EDGE, first + days + EDGE) + 3) // WEEK  # 1970-01-01 was a Thursday
    rolling = plan_limits.rolling
    if rolling and days <= WEEK and not used.any():
        rolling, week = False, np.zeros_like(week)  # one window holds them all
    start, day_cap = np.searchsorted(day, np.arange(days + 1)).astype(np.int64), plan_limits.day
    if rolling and day_cap > LARGEST_RECURSION:
        day_cap = min(day_cap, plan_limits.week, int(np.diff(start).max()))  # a day cannot hold more than that anyway
    if rolling and day_cap > LARGEST_RECURSION:
        raise ConfigurationError(
            f"rolling weeks with {plan_limits.week} contacts, {day_cap} of them on one day, cannot be planned exactly; "
            f"give decision.day={LARGEST_RECURSION} or less, spread campaigns over more days, or set "
            "decision.rolling=false"
        )
    calendar = Calendar(
        campaign=column,
        weight=np.array([campaigns[c].weight for c in column]),
        start=start,
        week=week.astype(np.int64),
        clash=clashes(campaigns, column, plan_limits),
        day_cap=day_cap,
        week_cap=plan_limits.week,
        rolling=rolling,
    )
    costs = np.array([cost if campaigns[c].cost is None else float(campaigns[c].cost or 0.0) for c in column])
    limits, limit_name = limits_of(campaigns, column, day, first, costs, np.isfinite(value).sum(axis=0), plan_limits)
    order = np.argsort(tie_break(context.scores.customer), kind="stable")
    return Request(Problem(value, costs, used, calendar, limits, order=order), list(campaigns), day, limit_name, first)


def check(
    campaigns: Sequence[Campaign], plan_limits: PlanLimits, used_channels: Sequence[str | None] | None = None
) -> None:
    """ConfigurationError for campaigns that contradict each other; used_channels: with those of triggers."""
    used_channels = [campaign.channel for campaign in campaigns] if used_channels is None else used_channels
    if not campaigns and not used_channels:
        raise ConfigurationError(
            "there is no campaign to plan and no message of a trigger is due; name one in decision.campaigns"
        )
    names = [campaign.name for campaign in campaigns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(f"campaign {twice[0]} is listed twice; give each a name of its own")
    for pair in plan_limits.exclusive:
        if unknown := [name for name in pair if name not in names]:
            raise ConfigurationError(
                f"decision.exclusive names {unknown[0]}, which is no campaign; there are {', '.join(names)}"
            )
        if len(pair) != 2 or pair[0] == pair[1]:
            raise ConfigurationError(f"decision.exclusive={list(pair)} must name two campaigns")
    channels = {channel_key(channel or "") for channel in used_channels}
    if unknown := sorted(name for name in plan_limits.capacity if channel_key(name) not in channels):
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


def contact_value(context: DecisionContext, campaign: Campaign, margin: float) -> np.ndarray:
    """(N,) float32 expected margin of a message, -inf for customers who are not eligible."""
    if isinstance(campaign, Triggered):
        return triggered_value(context, campaign, margin)
    m, eligible = context.offer(campaign.offer), eligible_customers(context, campaign)
    if not eligible.any():
        raise InfeasibleError(
            f"campaign {campaign.name} has no eligible customer: all {eligible.size} customers are suppressed, have "
            "not consented or are filtered out; loosen its filter, or drop it"
        )
    earned, uplift = margin * context.scores.revenue[:, m], context.objective.uplift
    if uplift is not None:
        earned = uplift.earned(campaign.name, campaign.offer, context.scores.customer, margin)
        eligible &= np.isfinite(earned)
    return np.where(eligible, earned, -np.inf).astype(np.float32)


def eligible_customers(context: DecisionContext, campaign: Campaign) -> np.ndarray:
    """(N,) bool: who may get a campaign by consent, filter and recent purchases."""
    eligible = context.reachable(campaign.channel)
    if campaign.where is not None:
        eligible &= context.where(campaign.where)
    if campaign.recent is not None:
        if context.history is None:
            raise ConfigurationError(f"campaign {campaign.name}: recent needs the event log; give log=<folder>")
        row = context.history.rows(context.scores.customer)
        recency = context.history.pairs(row, (campaign.offer,), "recency")[:, 0]
        eligible &= ~(recency <= campaign.recent)
    return eligible


def triggered_value(context: DecisionContext, campaign: Triggered, margin: float) -> np.ndarray:
    """(N,) float32 value of a message that a trigger sends, -inf for customers for whom none is due.

    With an incremental objective a fixed message is sent whether or not an experiment says what it causes; where none
    does it counts 0.
    """
    earned, uplift = np.full(campaign.due.size, campaign.worth), context.objective.uplift
    if uplift is not None:
        known = not campaign.fixed or {campaign.trigger, campaign.label, campaign.offer} & set(uplift.arms)
        name = campaign.label if campaign.label in uplift.arms else campaign.trigger
        earned = uplift.earned(name, campaign.offer, context.scores.customer, margin) if known else 0.0 * earned
    elif campaign.offer:
        earned = earned + margin * context.scores.revenue[:, context.offer(campaign.offer)]
    finite = np.isfinite(earned)
    if campaign.fixed:
        earned, finite = np.where(finite, earned, 0.0), np.ones_like(finite)
    return np.where(campaign.due & finite, earned, -np.inf).astype(np.float32)


def promised_contacts(context: DecisionContext, first: int, days: int) -> np.ndarray:
    """(N, EDGE+days+EDGE) uint8 contacts by day, promised or in the log before `first`, or one row of zeros.

    A contact that is both promised and in the log, on the same day through the same channel, counts once.
    """
    none = np.zeros((1, days + 2 * EDGE), np.uint8)
    tables = [messages_before(context, first)] if context.event_log is not None else []
    if context.contacts is not None:
        tables.append(context.contacts)
    if not tables:
        return none
    counted = [table.group_by("customer_id", "day", channel_keys("channel")).len() for table in tables]
    contacts = pl.concat(counted).group_by("customer_id", "day", "channel").agg(pl.col("len").max())
    contacts = contacts.with_columns(
        row=rows_of(contacts["customer_id"], pl.Series(context.scores.customer)),
        at=(pl.col("day") - (EPOCH + timedelta(days=first - EDGE))).dt.total_days(),
    )
    contacts = contacts.filter((pl.col("row") >= 0) & pl.col("at").is_between(0, none.shape[1] - 1))
    if contacts.is_empty():
        return none
    used = np.zeros((context.scores.customer.size, none.shape[1]), np.int64)
    np.add.at(used, (contacts["row"].to_numpy(), contacts["at"].to_numpy()), contacts["len"].to_numpy())
    return np.minimum(used, 255).astype(np.uint8)


def messages_before(context: DecisionContext, first: int) -> pl.DataFrame:
    """Messages of the log in the `EDGE` days before `first`: customer_id (text), day, channel."""
    log = context.event_log
    assert log is not None
    event = np.flatnonzero((log.kind == MESSAGE) & (log.day < first) & (log.day >= first - EDGE))
    owner = log.owner(event)
    names = np.array([*log.meta.get("channels", []), None], dtype=object)
    return pl.DataFrame(
        {
            "customer_id": log.customers["customer"].cast(pl.String).gather(owner),
            "day": pl.Series(np.asarray(log.day)[event], dtype=pl.Int32).cast(pl.Date),
            "channel": pl.Series(names[np.asarray(log.channel)[event]].tolist(), dtype=pl.String),
        }
    )


def clashes(campaigns: Sequence[Campaign], column: np.ndarray, plan_limits: PlanLimits) -> np.ndarray:
    """(S, S) pairs of slots of which a customer gets one at most; (0, 0) where there are none."""
    number = {campaign.name: c for c, campaign in enumerate(campaigns)}
    apart = np.eye(len(campaigns), dtype=bool)
    for a, b in plan_limits.exclusive:
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
    plan_limits: PlanLimits,
) -> tuple[Limits, list[str]]:
    """Audiences, capacities and the budget as rows over slots, each with its name."""
    rows, least, most, limit_names = [], [], [], []
    for c, campaign in enumerate(campaigns):
        if campaign.least > eligible[c]:
            raise InfeasibleError(
                f"campaign {campaign.name} requires at least {campaign.least} customers and {eligible[c]} are "
                "eligible; lower its least or loosen its filter"
            )
        rows.append((column == c).astype(float))
        least.append(campaign.least)
        most.append(min(eligible[c], campaign.most or eligible[c]))
        limit_names.append(f"audience of {campaign.name}")
    required = np.array([campaigns[c].least if len(campaigns[c].days) == 1 else 0 for c in column])
    for channel, room in plan_limits.capacity.items():
        through = np.array([channel_key(campaigns[c].channel or "") == channel_key(channel) for c in column])
        for d in np.unique(day[through]):
            row = (through & (day == d)).astype(float)
            name = f"{channel} on {to_date(first + d)}"
            if row @ required > room:
                names = ", ".join(campaigns[c].name for c in column[row > 0] if campaigns[c].least)
                raise InfeasibleError(
                    f"{names} require at least {row @ required:.0f} messages by {name}, whose capacity is {room}; "
                    "lower a least or raise the capacity"
                )
            rows.append(row)
            least.append(0)
            most.append(room)
            limit_names.append(name)
    if plan_limits.budget is not None:
        cheapest = np.array([cost[column == c].min() for c in range(len(campaigns))])
        if (needed := float(cheapest @ np.array([c.least for c in campaigns]))) > plan_limits.budget + 1e-9:
            names = ", ".join(campaign.name for campaign in campaigns if campaign.least)
            raise InfeasibleError(
                f"the least audiences of {names} cost {needed:,.2f} and the budget is {plan_limits.budget:,.2f}; "
                "lower a least or raise the budget"
            )
        rows.append(cost)
        least.append(0)
        most.append(plan_limits.budget)
        limit_names.append("budget")
    limits = Limits(np.array(rows, np.float64), np.array(least, np.float64), np.array(most, np.float64))
    return limits, limit_names
