"""Next best action: the journey of messages with the highest expected margin for each customer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from propensity.data.event_log import to_date
from propensity.decision.campaign import contacts_table, label, with_triggers
from propensity.decision.context import DecisionContext, tie_break
from propensity.decision.picture import BLUE, COLOURS, short
from propensity.decision.plan.fixed import place_fixed
from propensity.decision.plan.heuristic import joined, obeying_picks, of_picks, turns
from propensity.decision.plan.planner import solve
from propensity.decision.plan.request import Campaign, PlanLimits, Request, Triggered, build_request, campaign_of
from propensity.decision.plan.trigger import due_messages, read_triggers
from propensity.decision.result import DecisionResult
from propensity.errors import ConfigurationError


@dataclass
class NextBest:
    """A journey for every customer: which campaign on which day, or none.

    Parameters
    ----------
    campaigns : Sequence[Mapping[str, Any]], optional
        Settings of `decision.plan.request.Campaign`. None: the `count` offers with the highest expected revenue, each
        on any of the `days`.
    count : int
        Campaigns, where none are named.
    days : int
        Length of the journey.
    priority : Sequence[str], optional
        Names of campaigns in the order of the fixed list that the journeys are compared with. None: by their settings,
        else as listed.
    day, week, rolling, capacity
        See `decision.plan.request.PlanLimits`.
    daily_decay : float
        Factor on the value of a message for each day it waits, in (0, 1]; at 1 the earliest days are taken.
    margin : float
        Share of the revenue that is earned.
    cost : float
        Money per message, where a campaign names none.
    triggers : str or Sequence[Mapping[str, Any]], optional
        Rules of `decision.plan.trigger.Trigger` whose messages are due in the `days`, or a YAML file with a list.
    not_products : Sequence[str], optional
        Offers that are no campaigns unless they are named, as `data.source.not_products`. None: coupons, fuel,
        vouchers, deposits and the like; []: none.
    ignore_consent : bool
        Contact customers regardless of consent; the result says so.

    Raises
    ------
    ConfigurationError
        If the request contradicts itself.
    InfeasibleError
        If no plan meets it.
    """

    campaigns: Sequence[Mapping[str, Any]] | None = None
    count: int = 8
    days: int = 14
    priority: Sequence[str] | None = None
    day: int = 1
    week: int = 3
    rolling: bool = True
    daily_decay: float = 0.99
    margin: float = 0.3
    cost: float = 0.02
    capacity: Mapping[str, int] | None = None
    triggers: str | Sequence[Mapping[str, Any]] | None = None
    not_products: Sequence[str] | None = None
    ignore_consent: bool = False

    def __post_init__(self) -> None:
        for name in ("count", "days"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"decision.{name}={getattr(self, name)} plans nothing; give 1 or more")
        if not 0 < self.daily_decay <= 1:
            raise ConfigurationError(
                f"decision.daily_decay={self.daily_decay} is no share; give more than 0 and at most 1"
            )
        self.plan_limits = PlanLimits(self.day, self.week, self.rolling, self.capacity or {})

    def __call__(self, context: DecisionContext) -> DecisionResult:
        context = context.with_settings(self.ignore_consent, self.not_products)
        due, expected = due_messages(context, read_triggers(self.triggers), self.days)
        request = self.journeys(context, due)
        pinned, unplaced = place_fixed(request, context.scores.customer)
        plan = solve(pinned.remaining.problem, context.seed)
        picks = joined(plan, pinned)
        fixed = self.fixed(request, context.scores.customer)
        table = contacts_table(context, request, picks).sort("customer_id", "day", "campaign")
        first = next_table(context, table)
        journeys = of_picks("journeys", request.problem, picks)
        fixed_list = of_picks("fixed list", request.problem, fixed)
        bound = plan.bound + pinned.value
        summary = {
            "decision": "next_best",
            "consent": context.gate.summary(),
            "cutoff": context.scores.cutoff,
            "customers": context.scores.customer.size,
            "contacted": table["customer_id"].n_unique(),
            "contacts": table.height,
            "value": journeys.value,
            "bound": bound,
            "fixed_list": {"value": fixed_list.value, "contacts": fixed_list.contacts},
        }
        named = None if self.campaigns is None else [c.offer for c in request.campaigns if not isinstance(c, Triggered)]
        stopped, words = context.stop_summary(named)
        summary |= stopped
        sentences = [
            f"{table.height:,} messages to {summary['contacted']:,} of {context.gate.contactable()}, "
            f"in {self.days} days, expected margin {journeys.value:,.2f} (upper bound {bound:,.2f})",
            f"fixed list of priorities: {fixed_list.contacts:,} messages, {fixed_list.value:,.2f}"
            + (f"; the journeys earn {journeys.value / fixed_list.value - 1:+.1%}" if fixed_list.value > 0 else ""),
            *words,
            *context.gate.sentences(),
        ]
        counted = first.group_by("next_campaign").agg(customers=pl.len(), value=pl.col("expected_value").sum())
        preview = counted.with_columns(pl.col("next_campaign").fill_null("none")).sort("customers", descending=True)
        extra_tables = {"journey": table, "fixed_list": contacts_table(context, request, fixed)}
        draw = picture(request, table, journeys.value, fixed_list.value, self.days)
        result = DecisionResult("next_best", first, sentences, preview, summary, draw, extra_tables)
        return with_triggers(result, request, picks, expected, unplaced)

    def journeys(self, context: DecisionContext, due: Sequence[Triggered] = ()) -> Request:
        """The planning problem: each campaign on each of its days, with a value that decays by the day."""
        campaigns: list[Campaign] = [*due, *self.requested(context)]
        request = build_request(context, campaigns, self.plan_limits, self.margin, self.cost)
        calendar = request.problem.calendar
        weight = calendar.weight * self.daily_decay**request.slot_day
        return request._replace(problem=request.problem._replace(calendar=calendar._replace(weight=weight)))

    def requested(self, context: DecisionContext) -> list[Campaign]:
        """The campaigns of the settings, or those of the best-selling offers."""
        if self.campaigns is not None:
            campaigns = [campaign_of(settings) for settings in self.campaigns]
        else:
            offers = [context.scores.offer[m] for m in context.best_sellers(self.count)]
            campaigns = [Campaign(offer, days=list(range(self.days))) for offer in offers]
        if self.priority is not None:
            names = [campaign.name for campaign in campaigns]
            if unknown := [name for name in self.priority if name not in names]:
                raise ConfigurationError(
                    f"decision.priority names {unknown[0]}, which is no campaign; there are {', '.join(names)}"
                )
            for campaign in campaigns:
                if campaign.name in self.priority:
                    campaign.priority = list(self.priority).index(campaign.name) + 1
        return campaigns

    def fixed(self, request: Request, customer: np.ndarray) -> np.ndarray:
        """Picks of the fixed list: every day each customer gets the first campaign not yet sent, as far as the caps
        allow, whatever its value."""
        problem = request.problem
        row, slot = np.nonzero(np.isfinite(problem.value[:, problem.calendar.campaign]))
        order = np.lexsort(
            (tie_break(customer)[row], turns(request)[problem.calendar.campaign[slot]], request.slot_day[slot])
        )
        return obeying_picks(problem, row[order], slot[order])


def next_table(context: DecisionContext, table: pl.DataFrame) -> pl.DataFrame:
    """One row per customer: the first message, or null, and the value and length of the whole journey."""
    grouped = table.sort("day", "campaign").group_by("customer_id", maintain_order=True)
    first = grouped.agg(
        next_campaign=pl.col("campaign").first(),
        offer_id=pl.col("offer_id").first(),
        day=pl.col("day").first(),
        channel=pl.col("channel").first(),
        expected_value=pl.col("expected_value").first(),
        messages=pl.len(),
        journey_value=pl.col("expected_value").sum(),
    )
    ids = pl.DataFrame({"customer_id": context.scores.customer})
    customers = ids.join(first, on="customer_id", how="left", maintain_order="left")
    return customers.with_columns(
        pl.col("messages").fill_null(0), pl.col("journey_value", "expected_value").fill_null(0.0)
    )


def picture(request: Request, table: pl.DataFrame, journeys: float, fixed_list: float, days: int) -> Any:
    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(2, 1))
        bottom = np.zeros(days)
        for k, name in enumerate(dict.fromkeys(map(label, request.campaigns))):
            own = table.filter(pl.col("campaign") == name)
            counts = np.zeros(days)
            for day, count in own.group_by("day").len().iter_rows():
                counts[(day - to_date(request.first)).days] = count
            hatch = "//" if k >= len(COLOURS) else ""
            colour = COLOURS[k % len(COLOURS)]
            left.bar(range(days), counts, bottom=bottom, color=colour, hatch=hatch, label=short(name))
            bottom += counts
        left.set(xlabel="days after the cutoff", ylabel="messages", title="Messages by day")
        left.set_ylim(top=1.4 * left.get_ylim()[1])  # room for the names above the bars
        left.legend(fontsize=7, loc="upper center", ncols=2)
        right.bar(["journeys", "fixed list"], [journeys, fixed_list], color=[BLUE, "#b8bcc4"])
        right.set(ylabel="expected margin", title="Journeys and fixed list")

    return draw
