"""The campaign plan: who gets which message on which day, under caps and limits, and what each of them costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from propensity.data.event_log import to_date
from propensity.decision.context import DecisionContext
from propensity.decision.picture import BLUE, GREEN, INK, ORANGE, short
from propensity.decision.plan.heuristic import Heuristic, Pinned, heuristics, joined, of_picks, pin
from propensity.decision.plan.planner import Plan, Problem, evaluate, solve
from propensity.decision.plan.request import Campaign, Request, Rules, campaign_of, request
from propensity.decision.result import DecisionResult
from propensity.errors import ConfigurationError, InfeasibleError
from propensity.kernel.plan import exchanges

MODES = ("audience", "volume")
CHECKED = 2_000_000  # customers x slots up to which prices are checked by planning again
USUAL = 0.1  # of the customers: the audience of a campaign that names none


@dataclass
class CampaignPlan:
    """The plan of the highest expected margin.

    campaigns: settings of `decision.plan.request.Campaign`; None: one for each of the `count` offers with the
    highest expected revenue, in turn on the days of a week, to a tenth of the customers at most. mode: audience gives a
    campaign up to `most` customers, as far as they pay; volume gives it exactly `most`. day, week, rolling, capacity,
    budget, exclusive: see `decision.plan.request.Rules`. margin of the revenue; cost of a message. prices: plan
    again with each limit one step wider, to hold its price against what happens.
    """

    campaigns: Sequence[Mapping[str, Any]] | None = None
    count: int = 12
    mode: str = "audience"
    day: int = 1
    week: int = 3
    rolling: bool = True
    capacity: Mapping[str, int] | None = None
    budget: float | None = None
    exclusive: Sequence[Sequence[str]] = ()
    margin: float = 0.3
    cost: float = 0.02
    prices: bool = True

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigurationError(f"decision.mode={self.mode} is no way to plan; give {' or '.join(MODES)}")
        if self.count < 1:
            raise ConfigurationError(f"decision.count={self.count} plans nothing; give 1 or more")
        self.rules = Rules(self.day, self.week, self.rolling, self.capacity or {}, self.budget, self.exclusive)

    def __call__(self, context: DecisionContext) -> DecisionResult:
        asked = request(context, self.wanted(context), self.rules, self.margin, self.cost)
        pinned = pin(asked, context.scores.customer)
        plan = solve(pinned.asked.problem, context.seed)
        if plan.short.any():
            raise InfeasibleError(clash(pinned.asked, plan, self.rules))
        rivals = heuristics(pinned.asked, context.scores.customer)
        priced = price_list(pinned.asked, plan, context.seed, self.prices)
        return result(context, asked, pinned, plan, rivals, priced, self.margin)

    def wanted(self, context: DecisionContext) -> list[Campaign]:
        """The campaigns asked for, or the demo's."""
        usual = max(1, round(USUAL * context.scores.customer.size))
        if self.campaigns is None:
            revenue = context.scores.revenue.sum(axis=0, dtype=float)
            best = np.argsort(-revenue, kind="stable")[: self.count]
            made = [
                Campaign(context.scores.offer[m], days=[k % 7], most=usual, priority=k + 1) for k, m in enumerate(best)
            ]
        else:
            made = [campaign_of(given) for given in self.campaigns]
        if self.mode == "volume":
            made = [replace(c, most=c.most or usual, least=c.most or usual) for c in made]
        return made


def clash(asked: Request, plan: Plan, rules: Rules) -> str:
    """Names the rules that leave no plan: the campaigns that compete for the same contacts with one that lacks some."""
    problem, slots = asked.problem, asked.problem.cost.size
    loss, who = np.full((slots + 1, slots + 1), np.inf), np.full((slots + 1, slots + 1), -1)
    everybody = np.arange(problem.value.shape[0])
    exchanges(problem.value, problem.used, problem.calendar, problem.cost, plan.picks, loss, who, everybody)
    reached = (problem.limits.coefficient[plan.short > 0] > 0).any(axis=0)
    for _ in range(slots):
        reached = reached | (np.isfinite(loss[:-1, :-1]) & reached).any(axis=1)
    columns = np.unique(problem.calendar.campaign[reached])
    rivals = [asked.campaigns[c] for c in columns if problem.limits.least[c] > 0]
    held = problem.limits.coefficient @ plan.load
    wanted, placed = sum(problem.limits.least[c] for c in columns), sum(held[c] for c in columns)
    people = int(np.isfinite(problem.value[:, columns]).any(axis=1).sum())
    kind = "any 7 days" if rules.rolling else "a calendar week"
    full = [
        name for r, name in enumerate(asked.rule) if r >= len(asked.campaigns) and held[r] >= problem.limits.most[r] - 1
    ]
    rules_met = [
        f"at most {rules.day} a day and {rules.week} in {kind}",
        *full,
        *["promised contacts"] * bool(problem.used.any()),
        *["exclusive campaigns"] * bool(rules.exclusive),
    ]
    return (
        f"no plan meets the least audiences of {', '.join(c.name for c in rivals)} together: they want {wanted:,.0f} "
        f"contacts and {placed:,.0f} were placed among {people:,} eligible customers under {', '.join(rules_met)}; "
        "lower a least, raise a cap or move a campaign"
    )


def price_list(asked: Request, plan: Plan, seed: int, check: bool) -> pl.DataFrame:
    """What one unit more of each limit and cap is worth, by the prices and, where `check`, by planning again."""
    problem, rows = asked.problem, []
    held = problem.limits.coefficient @ plan.load
    check = check and problem.value.shape[0] * problem.cost.size <= CHECKED
    for r, name in enumerate(asked.rule):
        side = "most" if plan.price[r] >= 0 else "least"
        limit = problem.limits.most[r] if side == "most" else problem.limits.least[r]
        again = None
        if check and abs(plan.price[r]) > 1e-9:
            again = resolved(problem, plan, r, side, seed)
        rows.append((name, side, limit, held[r], plan.price[r], again))
    for cap, field_name in (("contacts a day", "day_cap"), ("contacts in a week", "week_cap")):
        wider = problem._replace(
            calendar=problem.calendar._replace(**{field_name: getattr(problem.calendar, field_name) + 1})
        )
        if wider.calendar.rolling and wider.calendar.day_cap > 3:
            continue
        gain = max(evaluate(wider, plan.price, 1e-9).bound - plan.bound, 0.0)
        again = solve(wider, seed, plan.price).value - plan.value if check else None
        rows.append((f"{cap}, for everybody", "most", getattr(problem.calendar, field_name), None, gain, again))
    schema = {"rule": pl.String, "side": pl.String, "limit": pl.Float64, "used": pl.Float64}
    table = pl.DataFrame(rows, schema=schema | {"shadow_price": pl.Float64, "planned_again": pl.Float64}, orient="row")
    return table.sort("shadow_price", descending=True, maintain_order=True)


def resolved(problem: Problem, plan: Plan, row: int, side: str, seed: int) -> float:
    """Money gained by one unit more of a limit, from a plan made anew; of a least, by one unit more of it."""
    changed = {side: getattr(problem.limits, side).copy()}
    changed[side][row] += 1.0
    if side == "least" and changed[side][row] > problem.limits.most[row]:
        changed["most"] = problem.limits.most.copy()
        changed["most"][row] += 1.0
    again = solve(problem._replace(limits=problem.limits._replace(**changed)), seed, plan.price)
    return again.value - plan.value


def result(
    context: DecisionContext,
    asked: Request,
    pinned: Pinned,
    plan: Plan,
    rivals: list[Heuristic],
    priced: pl.DataFrame,
    margin: float,
) -> DecisionResult:
    picks = joined(plan, pinned)
    table = contacts_table(context, asked, picks)
    whole = of_picks("plan", asked.problem, picks)
    value, bound = whole.value, plan.bound + pinned.value
    gap = max(bound - value, 0.0) / max(abs(bound), 1e-12)
    by_campaign = campaign_table(asked, picks, table)
    mine = Heuristic("this plan", plan.value, int(plan.load.sum()), 0, 0.0)
    compared = pl.DataFrame([mine, *rivals], orient="row", schema=["plan", *Heuristic._fields[1:]])
    summary = {
        "decision": "campaign",
        "cutoff": context.scores.cutoff,
        "contacts": table.height,
        "customers": table["customer_id"].n_unique(),
        "value": value,
        "bound": bound,
        "gap": gap,
        "pinned_value": pinned.value,
        "margin": margin,
        "campaigns": by_campaign.to_dicts(),
        "prices": priced.to_dicts(),
        "customs": compared.to_dicts(),
    }
    said = [
        f"{table.height:,} contacts with {summary['customers']:,} customers, expected margin {value:,.2f}; "
        f"no plan earns more than {bound:,.2f}, so the gap is at most {gap:.4%}",
        *(f"{r.name}: {r.value:,.2f}, {_beside(plan.value, r)}" for r in rivals),
        *_prices(priced),
    ]
    more = {"campaigns": by_campaign, "prices": priced, "customs": compared}
    return DecisionResult("campaign", table, said, by_campaign, summary, picture(plan, rivals, priced), more)


def _beside(ours: float, rival: Heuristic) -> str:
    if rival.broken:
        return f"but {rival.broken:,} of its {rival.contacts:,} contacts break a rule"
    more = f"the plan earns {round(ours / rival.value - 1, 3) + 0.0:+.1%}" if rival.value > 0 else "it earns nothing"
    return more + (f", and it is {rival.short:,.0f} short of a least" if rival.short else "")


def _prices(priced: pl.DataFrame) -> list[str]:
    best = priced.filter(pl.col("shadow_price").abs() > 1e-9).head(6)
    return [f"one more of {row['rule']} is worth {row['shadow_price']:,.4f}" for row in best.to_dicts()]


def contacts_table(context: DecisionContext, asked: Request, picks: np.ndarray) -> pl.DataFrame:
    """One row per contact, by day and campaign, the best first."""
    row, place = np.nonzero(picks >= 0)
    slot = picks[row, place].astype(np.int64)
    column = asked.problem.calendar.campaign[slot]
    offer = np.array([context.offer(campaign.offer) for campaign in asked.campaigns])[column]
    net = asked.problem.value[row, column] * asked.problem.calendar.weight[slot] - asked.problem.cost[slot]
    campaigns = asked.campaigns
    table = pl.DataFrame(
        {
            "customer_id": context.scores.customer[row],
            "day": [to_date(asked.first + d) for d in asked.slot_day[slot].tolist()],
            "campaign": [campaigns[c].name for c in column],
            "offer_id": [campaigns[c].offer for c in column],
            "channel": pl.Series([campaigns[c].channel for c in column], dtype=pl.String),
            "score": context.scores.probability[row, offer],
            "expected_value": net,
            "pinned": [campaigns[c].pinned for c in column],
        },
        schema_overrides={"day": pl.Date, "campaign": pl.String, "offer_id": pl.String, "pinned": pl.Boolean},
    )
    return table.sort("day", "campaign", "expected_value", "customer_id", descending=[False, False, True, False])


def campaign_table(asked: Request, picks: np.ndarray, table: pl.DataFrame) -> pl.DataFrame:
    """One row per campaign: what was wanted and what it got."""
    found = table.group_by("campaign").agg(contacts=pl.len(), value=pl.col("expected_value").sum())
    listed = pl.DataFrame(
        {
            "campaign": [c.name for c in asked.campaigns],
            "days": [", ".join(f"{to_date(asked.first + d):%m-%d}" for d in c.days) for c in asked.campaigns],
            "least": [c.least for c in asked.campaigns],
            "most": [c.most for c in asked.campaigns],
        },
        schema_overrides={"most": pl.Int64},
    )
    return listed.join(found, on="campaign", how="left", maintain_order="left").with_columns(
        pl.col("contacts").fill_null(0), pl.col("value").fill_null(0.0)
    )


def picture(plan: Plan, rivals: list[Heuristic], priced: pl.DataFrame) -> Any:
    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
        bars = [("this plan", plan.value, 0), *((r.name, r.value, r.broken) for r in rivals)]
        colours = [BLUE] + [ORANGE if broken else "#b8bcc4" for _, _, broken in bars[1:]]
        left.barh([name for name, _, _ in bars], [value for _, value, _ in bars], color=colours)
        left.axvline(plan.bound, ymin=0.13, color=INK, ls=":", label="no plan earns more", zorder=0.9)
        left.invert_yaxis()
        left.set(xlabel="expected margin", title="The plan and the customs it replaces")
        for k, (_, value, broken) in enumerate(bars):
            note = f" {value:,.0f}" + (", breaks rules" if broken else "")
            left.text(max(value, 0) * 0.02, k, note, va="center", color="white" if k == 0 else "black", fontsize=8)
        left.set_ylim(len(bars) + 0.1, -0.6)
        left.legend(loc="lower right")
        rows = priced.filter(pl.col("shadow_price").abs() > 1e-9).filter(~pl.col("rule").str.contains("everybody"))
        rows = rows.head(12)
        names = [short(name.removeprefix("audience of "), 28) for name in rows["rule"]]
        right.barh(names, rows["shadow_price"], color=GREEN, label="price")
        if rows["planned_again"].is_not_null().any():
            right.plot(rows["planned_again"], range(rows.height), "D", color=INK, ms=4, label="planned again")
        right.invert_yaxis()
        right.set(xlabel="margin of one contact more", title="Shadow prices of the limits")
        if rows.height:
            right.legend(loc="lower right")

    return draw
