"""The next best campaign: for each customer the journey of messages worth most, against a fixed list of priorities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from propensity.data.event_log import to_date
from propensity.decision.campaign import contacts_table
from propensity.decision.context import DecisionContext, tie_break
from propensity.decision.picture import BLUE, COLOURS, short
from propensity.decision.plan.heuristic import joined, obeying_picks, of_picks, pin, turns
from propensity.decision.plan.planner import solve
from propensity.decision.plan.request import Campaign, Request, Rules, campaign_of, request
from propensity.decision.result import DecisionResult
from propensity.errors import ConfigurationError


@dataclass
class NextBest:
    """A journey for every customer: which campaign on which day, or none.

    campaigns: settings of `decision.plan.request.Campaign`; None: the `count` offers with the highest expected
    revenue, each on any day of `days`. priority: names of campaigns in the order of the fixed list that the journeys
    are compared with; None: by their settings, else as listed. day, week, rolling: contact caps. fade: how much of a
    message's value is left each day later it goes out; at 1 all days are alike and the earliest are taken.
    """

    campaigns: Sequence[Mapping[str, Any]] | None = None
    count: int = 8
    days: int = 14
    priority: Sequence[str] | None = None
    day: int = 1
    week: int = 3
    rolling: bool = True
    fade: float = 0.99
    margin: float = 0.3
    cost: float = 0.02
    capacity: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        for name in ("count", "days"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"decision.{name}={getattr(self, name)} plans nothing; give 1 or more")
        if not 0 < self.fade <= 1:
            raise ConfigurationError(f"decision.fade={self.fade} is no share; give more than 0 and at most 1")
        self.rules = Rules(self.day, self.week, self.rolling, self.capacity or {})

    def __call__(self, context: DecisionContext) -> DecisionResult:
        asked = self.journeys(context)
        pinned = pin(asked, context.scores.customer)
        plan = solve(pinned.asked.problem, context.seed)
        picks = joined(plan, pinned)
        fixed = self.fixed(asked, context.scores.customer)
        table = contacts_table(context, asked, picks).sort("customer_id", "day", "campaign")
        first = next_table(context, table)
        ours, theirs = of_picks("journeys", asked.problem, picks), of_picks("list", asked.problem, fixed)
        bound = plan.bound + pinned.value
        summary = {
            "decision": "next_best",
            "cutoff": context.scores.cutoff,
            "customers": context.scores.customer.size,
            "written_to": table["customer_id"].n_unique(),
            "contacts": table.height,
            "value": ours.value,
            "bound": bound,
            "fixed_list": {"value": theirs.value, "contacts": theirs.contacts},
        }
        said = [
            f"{table.height:,} messages to {summary['written_to']:,} of {summary['customers']:,} customers "
            f"in {self.days} days, expected margin {ours.value:,.2f} (no journeys earn more than {bound:,.2f})",
            f"the fixed list of priorities: {theirs.contacts:,} messages, {theirs.value:,.2f}"
            + (f"; the journeys earn {ours.value / theirs.value - 1:+.1%}" if theirs.value > 0 else ""),
        ]
        counted = first.group_by("next_campaign").agg(customers=pl.len(), value=pl.col("expected_value").sum())
        shown = counted.with_columns(pl.col("next_campaign").fill_null("none")).sort("customers", descending=True)
        more = {"journey": table, "fixed_list": contacts_table(context, asked, fixed)}
        drawn = picture(asked, table, ours.value, theirs.value, self.days)
        return DecisionResult("next_best", first, said, shown, summary, drawn, more)

    def journeys(self, context: DecisionContext) -> Request:
        """The planning problem: each campaign on each of its days, worth less the later."""
        wanted = self.wanted(context)
        asked = request(context, wanted, self.rules, self.margin, self.cost)
        calendar = asked.problem.calendar
        weight = calendar.weight * self.fade**asked.slot_day
        return asked._replace(problem=asked.problem._replace(calendar=calendar._replace(weight=weight)))

    def wanted(self, context: DecisionContext) -> list[Campaign]:
        if self.campaigns is not None:
            made = [campaign_of(given) for given in self.campaigns]
        else:
            revenue = context.scores.revenue.sum(axis=0, dtype=float)
            best = np.argsort(-revenue, kind="stable")[: self.count]
            made = [Campaign(context.scores.offer[m], days=list(range(self.days))) for m in best]
        if self.priority is not None:
            names = [campaign.name for campaign in made]
            if unknown := [name for name in self.priority if name not in names]:
                raise ConfigurationError(
                    f"decision.priority names {unknown[0]}, which is no campaign; there are {', '.join(names)}"
                )
            for campaign in made:
                if campaign.name in self.priority:
                    campaign.priority = list(self.priority).index(campaign.name) + 1
        return made

    def fixed(self, asked: Request, customer: np.ndarray) -> np.ndarray:
        """Picks of the fixed list: every day each customer gets the first campaign of the list not yet sent, as far as
        the caps allow, whatever it is worth."""
        problem = asked.problem
        row, slot = np.nonzero(np.isfinite(problem.value[:, problem.calendar.campaign]))
        order = np.lexsort(
            (tie_break(customer)[row], turns(asked)[problem.calendar.campaign[slot]], asked.slot_day[slot])
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
    joined_ = ids.join(first, on="customer_id", how="left", maintain_order="left")
    return joined_.with_columns(
        pl.col("messages").fill_null(0), pl.col("journey_value", "expected_value").fill_null(0.0)
    )


def picture(asked: Request, table: pl.DataFrame, ours: float, theirs: float, days: int) -> Any:
    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(2, 1))
        bottom = np.zeros(days)
        for k, campaign in enumerate(asked.campaigns):
            own = table.filter(pl.col("campaign") == campaign.name)
            counts = np.zeros(days)
            for day, count in own.group_by("day").len().iter_rows():
                counts[(day - to_date(asked.first)).days] = count
            hatch = "//" if k >= len(COLOURS) else ""
            colour = COLOURS[k % len(COLOURS)]
            left.bar(range(days), counts, bottom=bottom, color=colour, hatch=hatch, label=short(campaign.name))
            bottom += counts
        left.set(xlabel="day after the send date", ylabel="messages", title="The journeys, day by day")
        left.set_ylim(top=1.4 * left.get_ylim()[1])  # room for the names above the bars
        left.legend(fontsize=7, loc="upper center", ncols=2)
        right.bar(["journeys", "fixed list"], [ours, theirs], color=[BLUE, "#b8bcc4"])
        right.set(ylabel="expected margin", title="Against the fixed list")

    return draw
