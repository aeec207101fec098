"""Dated triggers: messages that a rule makes due on a customer's own dates: a birthday, an abandoned basket."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from propensity.data.event_log import EPOCH, EventLog, to_date, to_day
from propensity.decision.context import DecisionContext
from propensity.decision.plan.request import Campaign, Triggered, eligible_customers
from propensity.decision.setting import check_kinds
from propensity.errors import ConfigurationError, DataError
from propensity.ingest.rule.matching import rows_of
from propensity.kernel.event import EVERY_KIND, KINDS, PURCHASE

FIRST = "first_purchase"
EVENTS = (FIRST, *EVERY_KIND)
NEVER = np.iinfo(np.int64).min // 2  # a day that no plan holds
SOURCES = ("event", "date", "anniversary")


@dataclass
class Trigger:
    """A rule that makes messages due on days of its own for each customer: a journey of one or several steps.

    Parameters
    ----------
    name : str
        Of the journey.
    event : str, optional
        `first_purchase`, or the last event of a kind before the cutoff: purchase, cart, view, redemption, ...
    date, anniversary : str, optional
        Column of dates of the customers: the date itself, or its day in every year. Exactly one of event, date and
        anniversary is given.
    days : Sequence[int]
        Steps, in days after the event, below 0 before a date.
    offer : str
        That the message is about; empty: none.
    offers : Sequence[str]
        One of each step, instead.
    fixed : bool
        Sent on its day before any campaign is planned, whatever its value. False: preferred; the planner sends it where
        it earns most, with its `weight` and `worth`.
    flexible : int
        Days that a message may be late.
    until : str, optional
        Kind of event after that of the trigger that ends the journey, such as purchase.
    bought : str, optional
        Offer whose purchase is the event, with event: purchase.
    start, end : str, optional
        First and last day of the journey's messages, ISO dates.
    required : bool
        The plan is infeasible where a message of a customer who may be contacted has no place.
    priority : int, optional
        1 comes first among the fixed ones; those without follow as listed.
    channel, cost, where, recent, weight
        As those of a campaign.
    worth : float
        Money that a message is worth beside the margin of its offer.
    """

    name: str
    event: str | None = None
    date: str | None = None
    anniversary: str | None = None
    days: Sequence[int] = (0,)
    offer: str = ""
    offers: Sequence[str] = ()
    fixed: bool = True
    flexible: int = 0
    until: str | None = None
    bought: str | None = None
    start: str | None = None
    end: str | None = None
    required: bool = False
    priority: int | None = None
    channel: str | None = None
    cost: float | None = None
    where: str | None = None
    recent: int | None = None
    weight: float = 1.0
    worth: float = 0.0

    def __post_init__(self) -> None:
        named = [source for source in SOURCES if getattr(self, source) is not None]
        if len(named) != 1:
            raise ConfigurationError(
                f"trigger {self.name}: {' and '.join(named) or 'none of event, date and anniversary'} is given; give "
                "exactly one of event, date and anniversary"
            )
        for key in ("event", "until"):
            value = getattr(self, key)
            if value is not None and value not in EVENTS[key == "until" :]:
                near = difflib.get_close_matches(value, EVENTS, 1, 0.0)[0]
                raise ConfigurationError(f"trigger {self.name}: {key}={value} is no event; did you mean {near}?")
        if self.bought is not None and self.event != "purchase":
            raise ConfigurationError(f"trigger {self.name}: bought={self.bought} needs event: purchase")
        self._check_steps()
        self._check_dates()
        if not self.fixed and not self.offer and not self.offers and not self.worth > 0:
            raise ConfigurationError(
                f"trigger {self.name} is preferred, not fixed, and names neither an offer nor a worth above 0, so that "
                "no message of it pays; give one of them, or fixed: true"
            )
        if not self.fixed and self.required:
            raise ConfigurationError(f"trigger {self.name} is required and not fixed; give fixed: true")
        if not self.weight > 0:
            raise ConfigurationError(f"trigger {self.name}: weight={self.weight} must be above 0")

    def _check_steps(self) -> None:
        if not self.days or len(set(self.days)) < len(self.days):
            raise ConfigurationError(f"trigger {self.name}: days={list(self.days)} must name each step once")
        if self.event is not None and min(self.days) < 0:
            raise ConfigurationError(
                f"trigger {self.name}: days={list(self.days)} lie before an event that nobody knows yet; give 0 or more"
            )
        if self.offers and (self.offer or len(self.offers) != len(self.days)):
            raise ConfigurationError(
                f"trigger {self.name}: {len(self.offers)} offers for {len(self.days)} days; give offer, or one of "
                "offers for each of days"
            )
        if self.flexible < 0:
            raise ConfigurationError(f"trigger {self.name}: flexible={self.flexible} is below 0; give 0 or more")

    def _check_dates(self) -> None:
        first, last = (self._bound(key) for key in ("start", "end"))
        if first is not None and last is not None and last < first:
            raise ConfigurationError(f"trigger {self.name}: end={self.end} is before start={self.start}")

    def _bound(self, key: str) -> int | None:
        """A limit of the journey as a day."""
        value = getattr(self, key)
        if value is None:
            return None
        try:
            return to_day(date.fromisoformat(str(value)).isoformat())
        except ValueError:
            raise ConfigurationError(f"trigger {self.name}: {key}={value} is no date; write it as YYYY-MM-DD") from None

    def within(self, day: np.ndarray) -> np.ndarray:
        """(n,) bool: days within the limits of the journey."""
        first, last = (self._bound(key) for key in ("start", "end"))
        return (day >= (NEVER if first is None else first)) & (day <= (-NEVER if last is None else last))


def read_triggers(triggers: str | Sequence[Mapping[str, Any]] | None) -> list[Trigger]:
    """Rules from a YAML file or from settings.

    Parameters
    ----------
    triggers : str, or sequence of mapping, or None
        Path of a YAML list, or its entries.

    Raises
    ------
    ConfigurationError
        For a file that is not there, an unknown key, a value of the wrong kind, or a name that is listed twice.
    """
    if isinstance(triggers, str):
        triggers = _from_file(Path(triggers))
    rules = [trigger_of(settings) for settings in triggers or ()]
    names = [rule.name for rule in rules]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(f"trigger {twice[0]} is listed twice; give each a name of its own")
    return rules


def _from_file(path: Path) -> Sequence[Mapping[str, Any]]:
    if not path.is_file():
        raise ConfigurationError(f"there is no file {path}; give decision.triggers=<YAML list of rules>")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no YAML ({str(error).splitlines()[0]}); write a list of rules") from None
    if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
        raise ConfigurationError(f"{path} holds no list of rules; write each as '- {{name: ..., event: ...}}'")
    return content


def trigger_of(settings: Mapping[str, Any]) -> Trigger:
    """A rule from its entry in YAML."""
    keys = [each.name for each in fields(Trigger)]
    for key in settings:
        if key not in keys:
            near = difflib.get_close_matches(str(key), keys, 1, 0.0)[0]
            raise ConfigurationError(f"a trigger has no setting {key}; did you mean {near}?")
    if not settings.get("name"):
        raise ConfigurationError(f"trigger {dict(settings)} has no name; add name: <text>")
    plain: dict[str, Any] = {
        key: value.isoformat() if isinstance(value, date) else value for key, value in settings.items()
    }
    if isinstance(plain.get("days"), int) and not isinstance(plain["days"], bool):
        plain["days"] = [plain["days"]]
    check_kinds(plain, Trigger, f"trigger {plain['name']}: ")
    return Trigger(**plain)


def due_messages(context: DecisionContext, rules: Sequence[Trigger], days: int) -> tuple[list[Triggered], pl.DataFrame]:
    """The messages that rules make due in the days from the cutoff on.

    Parameters
    ----------
    context : DecisionContext
        Customers, their consents, and the event log, of which nothing from the cutoff on is read.
    rules : sequence of Trigger
        Rules, of which those with a lower priority come first.
    days : int
        Days from the cutoff on.

    Returns
    -------
    list of Triggered
        For each rule, step and day with at least one message, in the order in which fixed ones are placed.
    pl.DataFrame
        trigger, step, due (customers), not_eligible (by consent, holdout or filter).

    Raises
    ------
    ConfigurationError
        If a rule needs a log, or a column of dates, that is not there.
    """
    first, found, rows = to_day(context.scores.cutoff), [], []
    order = sorted(range(len(rules)), key=lambda k: (rules[k].priority is None, rules[k].priority or 0, k))
    for rule in (rules[k] for k in order):
        origin = origins(context, rule, first, days)
        for k, step in enumerate(rule.days):
            offer = rule.offers[k] if rule.offers else rule.offer
            if offer:
                context.offer(offer)
            label = rule.name if len(rule.days) == 1 else f"{rule.name}, day {step}"
            base = Campaign(offer, label, channel=rule.channel, where=rule.where, recent=rule.recent)
            when = _due_days(rule, origin, step, first, days)
            inside = when > NEVER
            eligible = eligible_customers(context, base) if inside.any() else inside
            rows.append((rule.name, step, int(inside.sum()), int((inside & ~eligible).sum())))
            for day in np.unique(when[inside & eligible]):
                due = inside & eligible & (when == day)
                found.append(_message(rule, step, label, offer, int(day) - first, days, due))
    schema = {"trigger": pl.String, "step": pl.Int64, "due": pl.Int64, "not_eligible": pl.Int64}
    return found, pl.DataFrame(rows, schema=schema, orient="row")


def _message(rule: Trigger, step: int, label: str, offer: str, day: int, days: int, due: np.ndarray) -> Triggered:
    """The messages of a step on a day, which may be late as far as rule and plan allow."""
    return Triggered(
        offer=offer,
        name=f"{label} (day {day})",
        days=list(range(day, min(day + rule.flexible + 1, days))),
        channel=rule.channel,
        cost=rule.cost,
        weight=rule.weight,
        trigger=rule.name,
        step=step,
        label=label,
        fixed=rule.fixed,
        required=rule.required,
        due=due,
        worth=rule.worth,
    )


def _due_days(rule: Trigger, origin: np.ndarray, step: int, first: int, days: int) -> np.ndarray:
    """(N,) the day of the plan on which the step is due, else NEVER; origin: (N, Y) days of the event."""
    when = origin + step
    inside = (when >= first) & (when < first + days) & rule.within(when)
    return np.asarray(np.where(inside, when, NEVER).max(axis=1))


def origins(context: DecisionContext, rule: Trigger, first: int, days: int) -> np.ndarray:
    """Days of each customer's event, `NEVER` without one: (N, Y); journeys that have ended are left out.

    Parameters
    ----------
    context : DecisionContext
        Customers and the log.
    rule : Trigger
        The rule.
    first, days : int
        The cutoff, and the days of the plan.
    """
    if rule.event is not None:
        return _of_events(context, rule, first)[:, None]
    column = rule.date or rule.anniversary or ""
    day = _dates(context, rule, column)
    if rule.anniversary is None:
        return _ended(context, rule, day, first)[:, None]
    return _anniversaries(day, first, days, rule.days)


def _of_events(context: DecisionContext, rule: Trigger, first: int) -> np.ndarray:
    """(N,) the day of the first purchase or of the last event of a kind."""
    if rule.bought is not None:
        context.offer(rule.bought)
        if context.history is None:
            raise ConfigurationError(f"trigger {rule.name}: bought needs the purchases of the log; give log=<folder>")
        history = context.history
        age = history.pairs(history.rows(context.scores.customer), (rule.bought,), "recency")[:, 0]
        return _ended(context, rule, np.where(np.isnan(age), NEVER, first - np.nan_to_num(age)).astype(np.int64), first)
    day = _event_days(context, rule, rule.event or "", first)
    return _ended(context, rule, day, first)


def _ended(context: DecisionContext, rule: Trigger, day: np.ndarray, first: int) -> np.ndarray:
    """The days without journeys that an event of the kind `until` has ended."""
    if rule.until is None:
        return day
    own = rule.event == rule.until or (
        rule.event == FIRST and rule.until == "purchase"
    )  # the event itself ends nothing
    return np.where(_event_days(context, rule, rule.until, first) >= day + own, NEVER, day)


def _event_days(context: DecisionContext, rule: Trigger, kind: str, first: int) -> np.ndarray:
    """(N,) the day of each customer's first purchase, or last event of a kind, before the cutoff."""
    log = context.event_log
    if log is None:
        raise ConfigurationError(f"trigger {rule.name}: {kind} needs the event log; give log=<folder>")
    code = PURCHASE if kind == FIRST else EVERY_KIND.index(kind)
    events: EventLog | None = log if code < len(KINDS) else log.engagement
    day = np.full(len(log), NEVER, np.int64)
    if events is None:
        raise ConfigurationError(
            f"trigger {rule.name}: the log has no events of the kind {kind}; deliver them, or drop it"
        )
    place = np.flatnonzero((np.asarray(events.kind) == code) & (np.asarray(events.day) < first))
    owner, when = events.owner(place), np.asarray(events.day)[place].astype(np.int64)
    if kind == FIRST:
        owner, when = owner[::-1], when[::-1]  # events ascend by day: the last assignment is the first purchase
    day[owner] = when
    row = rows_of(pl.Series(context.scores.customer), log.customers["customer"])
    return np.where(row >= 0, day[np.maximum(row, 0)], NEVER)


def _dates(context: DecisionContext, rule: Trigger, column: str) -> np.ndarray:
    """(N,) dates of a column of the customers' table, or else of the log's, as days; NEVER where one is missing."""
    table, log = context.customers, context.event_log
    values: pl.Series | None = None
    if table is not None and column in table.columns:
        values = table[column]
    elif log is not None and column in log.customers.columns and column != "customer":
        row = rows_of(pl.Series(context.scores.customer), log.customers["customer"])
        own = log.customers[column].gather(np.maximum(row, 0))
        values = pl.select(pl.when(pl.Series(row >= 0)).then(own)).to_series()
    if values is None:
        names = [*(table.columns if table is not None else []), *(log.customers.columns if log is not None else [])]
        near = difflib.get_close_matches(column, names, 1, 0.0)
        raise ConfigurationError(
            f"trigger {rule.name}: customers have no column {column!r}"
            + (f"; did you mean {near[0]!r}?" if near else "; give customers=<file> with it")
        )
    try:
        parsed = values.str.to_date(strict=True) if values.dtype == pl.String else values.cast(pl.Date)
    except pl.exceptions.PolarsError:
        raise DataError(
            f"trigger {rule.name}: column {column} holds values that are no dates; write YYYY-MM-DD"
        ) from None
    if values.dtype.is_numeric():
        raise DataError(f"trigger {rule.name}: column {column} holds numbers, no dates; write them as YYYY-MM-DD")
    return (parsed - EPOCH).dt.total_days().fill_null(NEVER).cast(pl.Int64).to_numpy()


def _anniversaries(day: np.ndarray, first: int, days: int, steps: Sequence[int]) -> np.ndarray:
    """(N,) or (N, Y) the anniversaries whose messages can be due in the plan, on 28 February for the 29th."""
    known = day > NEVER
    dates = pl.Series(np.where(known, day, 0).astype(np.int32)).cast(pl.Date)
    low, high = to_date(first - max(steps)), to_date(first + days - 1 - min(steps))
    columns = []
    for year in range(low.year, high.year + 1):
        month, number = pl.lit(dates.dt.month()), pl.lit(dates.dt.day())
        leap = (month == 2) & (number == 29) & (not _is_leap(year))
        when = pl.select(pl.date(year, month, pl.when(leap).then(28).otherwise(number))).to_series()
        at = (when - EPOCH).dt.total_days().to_numpy()
        inside = known & (at >= first - max(steps)) & (at <= first + days - 1 - min(steps)) & (at > day)
        columns.append(np.where(inside, at, NEVER))
    return np.stack(columns, axis=1)


def _is_leap(year: int) -> bool:
    return date(year, 3, 1) - timedelta(days=1) == date(year, 2, 29) if year % 4 == 0 else False
