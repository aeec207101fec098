"""The campaign plan: who gets which message on which day, under contact caps and limits, with their shadow prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from propensity.data.event_log import to_date
from propensity.decision.context import DecisionContext
from propensity.decision.exploration import Draw, Explored, explore
from propensity.decision.objective import DISCOVERY, LAPSED, is_discovery
from propensity.decision.picture import BLUE, GREEN, INK, ORANGE, short
from propensity.decision.plan.discovery import with_discovery
from propensity.decision.plan.dual import evaluate
from propensity.decision.plan.fixed import place_fixed, trigger_sentences, trigger_table
from propensity.decision.plan.heuristic import Heuristic, Pinned, heuristics, joined, of_picks
from propensity.decision.plan.planner import solve
from propensity.decision.plan.problem import Plan, Problem
from propensity.decision.plan.request import Campaign, PlanLimits, Request, Triggered, build_request, campaign_of
from propensity.decision.plan.trigger import due_messages, read_triggers
from propensity.decision.result import DecisionResult
from propensity.errors import ConfigurationError, InfeasibleError
from propensity.kernel.plan import exchanges

MODES = ("audience", "volume")
CHECKED = 2_000_000  # customers x slots up to which shadow prices are checked by planning again
DEFAULT_SHARE = 0.1  # of the customers: the largest audience of a campaign that names none


@dataclass
class CampaignPlan:
    """The plan of the highest expected margin.

    Parameters
    ----------
    campaigns : Sequence[Mapping[str, Any]], optional
        Settings of `decision.plan.request.Campaign`. None: one campaign for each of the `count` offers with the highest
        expected revenue, on the days of a week in turn, to at most a tenth of the customers each.
    count : int
        Campaigns, where none are named.
    mode : {"audience", "volume"}
        audience: up to `most` customers a campaign, as far as their margin exceeds the cost; volume: exactly `most`.
    day, week, rolling, capacity, budget, exclusive
        See `decision.plan.request.PlanLimits`.
    margin : float
        Share of the revenue that is earned.
    cost : float
        Money per message, where a campaign names none.
    prices : bool
        Plan again with each limit one unit wider, to check its shadow price.
    triggers : str or Sequence[Mapping[str, Any]], optional
        Rules of `decision.plan.trigger.Trigger`, or a YAML file with a list of them.
    trigger_days : int
        Days from the cutoff on in which messages of triggers are due.
    explore : float
        Share of each campaign that goes to customers at random, see `decision.exploration`.
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
    triggers: str | Sequence[Mapping[str, Any]] | None = None
    trigger_days: int = 7
    explore: float = 0.0
    not_products: Sequence[str] | None = None
    ignore_consent: bool = False

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigurationError(f"decision.mode={self.mode} is no way to plan; give {' or '.join(MODES)}")
        if self.count < 1:
            raise ConfigurationError(f"decision.count={self.count} plans nothing; give 1 or more")
        self.plan_limits = PlanLimits(
            self.day, self.week, self.rolling, self.capacity or {}, self.budget, self.exclusive
        )

    def __call__(self, context: DecisionContext) -> DecisionResult:
        context = context.with_settings(self.ignore_consent, self.not_products)
        due, counted = due_messages(context, read_triggers(self.triggers), self.trigger_days)
        campaigns: list[Campaign] = [*due, *self.requested(context)]
        request = build_request(context, campaigns, self.plan_limits, self.margin, self.cost)
        pinned, unplaced = place_fixed(request, context.scores.customer)
        plan, priced, sentences = self._plan(context, pinned)
        if plan.short.any():
            raise InfeasibleError(clash(pinned.remaining, plan, self.plan_limits))
        compared = heuristics(pinned.remaining, context.scores.customer)
        prices = price_list(priced, plan, context.seed, self.prices)
        planned = result(context, request, pinned, plan, compared, prices, self.margin)
        planned = with_triggers(planned, request, joined(plan, pinned), counted, unplaced)
        named = None if self.campaigns is None else [c.offer for c in request.campaigns if not isinstance(c, Triggered)]
        stopped, words = context.stop_summary(named)
        planned = replace(
            planned, sentences=[*planned.sentences, *sentences, *words], summary=planned.summary | stopped
        )
        return planned if self.explore == 0 else explored(context, request, joined(plan, pinned), self.explore, planned)

    def _plan(self, context: DecisionContext, pinned: Pinned) -> tuple[Plan, Request, list[str]]:
        """The plan of the objective, the request whose shadow prices it has, and what the objective costs."""
        remaining, objective = pinned.remaining, context.objective
        if objective.name != DISCOVERY:
            return solve(remaining.problem, context.seed), remaining, []
        mask = is_discovery(context.history, context.scores, [c.offer for c in remaining.campaigns])
        mask[:, [not c.offer for c in remaining.campaigns]] = False
        found = with_discovery(pinned, mask, objective.discovery, context.seed)
        sentence = (
            f"discovery: {found.share:.1%} of the messages go to customers who never bought the offer or not in "
            f"{LAPSED} days ({found.share_before:.1%} without the limit), which costs {found.cost:,.2f} of predicted "
            f"margin; one of them may earn {found.price:,.4f} less than another message; heuristics have no such limit"
        )
        return found.plan, remaining._replace(problem=found.problem), [sentence]

    def requested(self, context: DecisionContext) -> list[Campaign]:
        """The campaigns of the settings, or those of the best-selling offers."""
        size = max(1, round(DEFAULT_SHARE * context.scores.customer.size))
        if self.campaigns is None:
            offers = [context.scores.offer[m] for m in context.best_sellers(self.count)]
            campaigns = [Campaign(o, days=[k % 7], most=size, priority=k + 1) for k, o in enumerate(offers)]
        else:
            campaigns = [campaign_of(settings) for settings in self.campaigns]
        if self.mode == "volume":
            campaigns = [replace(c, most=c.most or size, least=c.most or size) for c in campaigns]
        return campaigns


def with_triggers(
    planned: DecisionResult, request: Request, picks: np.ndarray, counted: pl.DataFrame, unplaced: pl.DataFrame
) -> DecisionResult:
    """The result with what became of the messages of triggers, unchanged without triggers."""
    if not counted.height:
        return planned
    slot = picks[picks >= 0].astype(np.int64)
    pairs = [(request.campaigns[request.problem.calendar.campaign[s]], request.slot_day[s]) for s in slot.tolist()]
    rows = [(c.trigger, c.step, bool(d > c.days[0])) for c, d in pairs if isinstance(c, Triggered)]
    schema = {"trigger": pl.String, "step": pl.Int64, "late": pl.Boolean}
    table = trigger_table(counted, pl.DataFrame(rows, schema=schema, orient="row"), unplaced)
    return replace(
        planned,
        sentences=[*planned.sentences, *trigger_sentences(table)],
        summary=planned.summary | {"triggers": table.to_dicts()},
        extra_tables=planned.extra_tables | {"triggers": table, "unplaced": unplaced},
    )


def explored(
    context: DecisionContext, request: Request, picks: np.ndarray, share: float, planned: DecisionResult
) -> DecisionResult:
    """The planned contacts, a share of which is replaced at random, with their probabilities."""
    value = request.problem.value.copy()
    value[:, [isinstance(campaign, Triggered) for campaign in request.campaigns]] = -np.inf  # nobody gets one by chance
    drawn = explore(picks, request.problem._replace(value=value), share, context.seed)
    table = contacts_table(context, request, drawn.picks, drawn)
    before, after = (float(each["expected_value"].sum()) for each in (planned.table, table))
    count = int(drawn.explored.sum())
    sentence = (
        f"exploration: {count:,} of {table.height:,} contacts were drawn at random, with their probabilities; the "
        f"expected margin is {after:,.2f}, {before - after:,.2f} less"
    )
    summary = planned.summary | {"value": after, "exploration": {"contacts": count, "cost": before - after}}
    also = {**planned.extra_tables, "exploration": exploration_table(context, request, drawn.draw)}
    return replace(planned, table=table, sentences=[*planned.sentences, sentence], summary=summary, extra_tables=also)


def exploration_table(context: DecisionContext, request: Request, draw: Draw) -> pl.DataFrame:
    """The experiment that exploration makes, as `ab uplift messages=` reads it."""
    campaigns, column = request.campaigns, draw.campaign
    return pl.DataFrame(
        {
            "customer_id": pl.Series(context.scores.customer).gather(draw.row),
            "offer_id": pl.Series([campaigns[c].offer for c in column], dtype=pl.String),
            "campaign": pl.Series([campaigns[c].name for c in column], dtype=pl.String),
            "arm": pl.Series(np.where(draw.sent, "message", "holdout"), dtype=pl.String),
            "probability": draw.probability,
        }
    ).with_columns(cutoff=pl.lit(context.scores.cutoff).str.to_date())


def clash(request: Request, plan: Plan, plan_limits: PlanLimits) -> str:
    """The limits that leave no plan, and the campaigns that compete for the contacts of one below its least."""
    problem, slots = request.problem, request.problem.cost.size
    loss, who = np.full((slots + 1, slots + 1), np.inf), np.full((slots + 1, slots + 1), -1)
    customers = np.arange(problem.value.shape[0])
    exchanges(problem.value, problem.used, problem.calendar, problem.cost, plan.picks, loss, who, customers)
    reached = (problem.limits.coefficient[plan.short > 0] > 0).any(axis=0)
    for _ in range(slots):
        reached = reached | (np.isfinite(loss[:-1, :-1]) & reached).any(axis=1)
    columns = np.unique(problem.calendar.campaign[reached])
    competing = [request.campaigns[c] for c in columns if problem.limits.least[c] > 0]
    usage = problem.limits.coefficient @ plan.load
    required, placed = sum(problem.limits.least[c] for c in columns), sum(usage[c] for c in columns)
    people = int(np.isfinite(problem.value[:, columns]).any(axis=1).sum())
    kind = "any 7 days" if plan_limits.rolling else "a calendar week"
    full = [
        name
        for r, name in enumerate(request.limit_name)
        if r >= len(request.campaigns) and usage[r] >= problem.limits.most[r] - 1
    ]
    binding = [
        f"at most {plan_limits.day} a day and {plan_limits.week} in {kind}",
        *full,
        *["promised contacts"] * bool(problem.used.any()),
        *["exclusive campaigns"] * bool(plan_limits.exclusive),
    ]
    return (
        f"no plan meets the least audiences of {', '.join(c.name for c in competing)} together: they require "
        f"{required:,.0f} contacts and {placed:,.0f} were placed among {people:,} eligible customers under "
        f"{', '.join(binding)}; "
        "lower a least, raise a cap or move a campaign"
    )


def price_list(request: Request, plan: Plan, seed: int, check: bool) -> pl.DataFrame:
    """Value of one unit more of each limit and cap: the shadow price and, where `check`, the gain of a new plan."""
    problem, rows = request.problem, []
    usage = problem.limits.coefficient @ plan.load
    check = check and problem.value.shape[0] * problem.cost.size <= CHECKED
    for r, name in enumerate(request.limit_name):
        side = "most" if plan.price[r] >= 0 else "least"
        size = problem.limits.most[r] if side == "most" else problem.limits.least[r]
        again = None
        if check and abs(plan.price[r]) > 1e-9:
            again = resolved(problem, plan, r, side, seed)
        rows.append((name, side, size, usage[r], plan.price[r], again))
    for cap, field_name in (("contacts a day", "day_cap"), ("contacts in a week", "week_cap")):
        wider = problem._replace(
            calendar=problem.calendar._replace(**{field_name: getattr(problem.calendar, field_name) + 1})
        )
        if wider.calendar.rolling and wider.calendar.day_cap > 3:
            continue
        gain = max(evaluate(wider, plan.price, 1e-9).bound - plan.bound, 0.0)
        again = solve(wider, seed, plan.price).value - plan.value if check else None
        rows.append((f"{cap}, for all customers", "most", getattr(problem.calendar, field_name), None, gain, again))
    schema = {"limit": pl.String, "side": pl.String, "size": pl.Float64, "used": pl.Float64}
    table = pl.DataFrame(
        rows, schema=schema | {"shadow_price": pl.Float64, "gain_of_new_plan": pl.Float64}, orient="row"
    )
    return table.sort("shadow_price", descending=True, maintain_order=True)


def resolved(problem: Problem, plan: Plan, row: int, side: str, seed: int) -> float:
    """Money gained by one unit more of a limit (or of a least), from a new plan."""
    changed = {side: getattr(problem.limits, side).copy()}
    changed[side][row] += 1.0
    if side == "least" and changed[side][row] > problem.limits.most[row]:
        changed["most"] = problem.limits.most.copy()
        changed["most"][row] += 1.0
    again = solve(problem._replace(limits=problem.limits._replace(**changed)), seed, plan.price)
    return again.value - plan.value


def result(
    context: DecisionContext,
    request: Request,
    pinned: Pinned,
    plan: Plan,
    compared: list[Heuristic],
    prices: pl.DataFrame,
    margin: float,
) -> DecisionResult:
    """Tables, summary and sentences of a plan."""
    picks = joined(plan, pinned)
    table = contacts_table(context, request, picks)
    whole = of_picks("plan", request.problem, picks)
    value, bound = whole.value, plan.bound + pinned.value
    optimality_gap = max(bound - value, 0.0) / max(abs(bound), 1e-12)
    by_campaign = campaign_table(request, picks, table)
    own = Heuristic("this plan", plan.value, int(plan.load.sum()), 0, 0.0)
    comparison = pl.DataFrame([own, *compared], orient="row", schema=["plan", *Heuristic._fields[1:]])
    summary = {
        "decision": "campaign",
        "cutoff": context.scores.cutoff,
        "consent": context.gate.summary(),
        "contacts": table.height,
        "customers": table["customer_id"].n_unique(),
        "value": value,
        "bound": bound,
        "optimality_gap": optimality_gap,
        "pinned_value": pinned.value,
        "margin": margin,
        "campaigns": by_campaign.to_dicts(),
        "prices": prices.to_dicts(),
        "heuristics": comparison.to_dicts(),
    }
    sentences = [
        f"{table.height:,} contacts with {summary['customers']:,} of {context.gate.contactable()}, "
        f"expected margin {value:,.2f}; "
        f"no plan earns more than {bound:,.2f}: optimality gap at most {optimality_gap:.4%}",
        *(f"{r.name}: {r.value:,.2f}, {_beside(plan.value, r)}" for r in compared),
        *_prices(prices),
        *context.gate.sentences(),
    ]
    extra_tables = {"campaigns": by_campaign, "prices": prices, "heuristics": comparison}
    return DecisionResult(
        "campaign", table, sentences, by_campaign, summary, picture(plan, compared, prices), extra_tables
    )


def _beside(value: float, heuristic: Heuristic) -> str:
    """The plan's value relative to a heuristic."""
    if heuristic.violations:
        return f"but {heuristic.violations:,} of its {heuristic.contacts:,} contacts violate a limit"
    change = (
        f"the plan earns {round(value / heuristic.value - 1, 3) + 0.0:+.1%}" if heuristic.value > 0 else "no margin"
    )
    return change + (f", and it lacks {heuristic.short:,.0f} contacts of a least" if heuristic.short else "")


def _prices(prices: pl.DataFrame) -> list[str]:
    """The highest shadow prices, a sentence each."""
    best = prices.filter(pl.col("shadow_price").abs() > 1e-9).head(6)
    return [f"shadow price of {row['limit']}: {row['shadow_price']:,.4f}" for row in best.to_dicts()]


def contacts_table(
    context: DecisionContext, request: Request, picks: np.ndarray, drawn: Explored | None = None
) -> pl.DataFrame:
    """One row per contact, by day and campaign, the best first; with probabilities where contacts were explored."""
    row, place = np.nonzero(picks >= 0)
    slot = picks[row, place].astype(np.int64)
    column = request.problem.calendar.campaign[slot]
    offer = np.array([context.offer(c.offer) if c.offer else -1 for c in request.campaigns])[column]
    net = request.problem.value[row, column] * request.problem.calendar.weight[slot] - request.problem.cost[slot]
    campaigns = request.campaigns
    table = pl.DataFrame(
        {
            "customer_id": pl.Series(context.scores.customer).gather(row),
            "day": [to_date(request.first + d) for d in request.slot_day[slot].tolist()],
            "campaign": [label(campaigns[c]) for c in column],
            "offer_id": [campaigns[c].offer or None for c in column],
            "channel": pl.Series([campaigns[c].channel for c in column], dtype=pl.String),
            "score": pl.Series(np.where(offer >= 0, context.scores.probability[row, offer], np.nan)).fill_nan(None),
            "expected_value": net,
            "cost": request.problem.cost[slot],
            "pinned": [is_fixed(campaigns[c]) for c in column],
        },
        schema_overrides={"day": pl.Date, "campaign": pl.String, "offer_id": pl.String, "pinned": pl.Boolean},
    )
    if drawn is not None:
        chance = pl.Series("probability", drawn.probability[row, place])
        table = table.with_columns(chance, pl.Series("explored", drawn.explored[row, place]))
    return table.sort("day", "campaign", "expected_value", "customer_id", descending=[False, False, True, False])


def label(campaign: Campaign) -> str:
    """Name of a campaign in tables; messages of a trigger have the same on every day."""
    return campaign.label if isinstance(campaign, Triggered) else campaign.name


def is_fixed(campaign: Campaign) -> bool:
    """Whether its contacts are placed before the others are planned."""
    return campaign.fixed if isinstance(campaign, Triggered) else campaign.pinned


def campaign_table(request: Request, picks: np.ndarray, table: pl.DataFrame) -> pl.DataFrame:
    """One row per campaign: its settings, contacts and value."""
    totals = table.group_by("campaign").agg(contacts=pl.len(), value=pl.col("expected_value").sum())
    own = [c for c in request.campaigns if not isinstance(c, Triggered)]
    listed = pl.DataFrame(
        {
            "campaign": [c.name for c in own],
            "days": [", ".join(f"{to_date(request.first + d):%m-%d}" for d in c.days) for c in own],
            "least": [c.least for c in own],
            "most": [c.most for c in own],
        },
        schema_overrides={"campaign": pl.String, "days": pl.String, "least": pl.Int64, "most": pl.Int64},
    )
    labels = dict.fromkeys(c.label for c in request.campaigns if isinstance(c, Triggered))
    triggered = pl.DataFrame({"campaign": list(labels)}, schema={"campaign": pl.String})
    listed = pl.concat(
        [listed, triggered.with_columns(days=pl.lit("trigger"), least=pl.lit(0, pl.Int64))], how="diagonal"
    )
    return listed.join(totals, on="campaign", how="left", maintain_order="left").with_columns(
        pl.col("contacts").fill_null(0), pl.col("value").fill_null(0.0)
    )


def picture(plan: Plan, compared: list[Heuristic], prices: pl.DataFrame) -> Any:
    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
        bars = [("this plan", plan.value, 0), *((r.name, r.value, r.violations) for r in compared)]
        colours = [BLUE] + [ORANGE if violations else "#b8bcc4" for _, _, violations in bars[1:]]
        left.barh([name for name, _, _ in bars], [value for _, value, _ in bars], color=colours)
        left.axvline(plan.bound, ymin=0.13, color=INK, ls=":", label="upper bound", zorder=0.9)
        left.invert_yaxis()
        left.set(xlabel="expected margin", title="The plan and heuristics")
        for k, (_, value, violations) in enumerate(bars):
            note = f" {value:,.0f}" + (", violates limits" if violations else "")
            left.text(max(value, 0) * 0.02, k, note, va="center", color="white" if k == 0 else "black", fontsize=8)
        left.set_ylim(len(bars) + 0.1, -0.6)
        left.legend(loc="lower right")
        rows = prices.filter(pl.col("shadow_price").abs() > 1e-9).filter(~pl.col("limit").str.contains("for all"))
        rows = rows.head(12)
        names = [short(name.removeprefix("audience of "), 28) for name in rows["limit"]]
        right.barh(names, rows["shadow_price"], color=GREEN, label="shadow price")
        if rows["gain_of_new_plan"].is_not_null().any():
            right.plot(rows["gain_of_new_plan"], range(rows.height), "D", color=INK, ms=4, label="gain of a new plan")
        right.invert_yaxis()
        right.set(xlabel="margin per unit more", title="Shadow prices of the limits")
        if rows.height:
            right.legend(loc="lower right")

    return draw
