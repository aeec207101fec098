"""Allocation of a retention budget: lean in, intervene or let go, by value, risk and the effect of an experiment."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.data.event_log import to_date
from propensity.decision.allocate_page import html
from propensity.decision.campaign import clash, price_list
from propensity.decision.context import DecisionContext
from propensity.decision.experiment_file import Effect, effect_of, no_effect
from propensity.decision.picture import BLUE, GREEN, INK, ORANGE
from propensity.decision.plan.heuristic import joined, pin
from propensity.decision.plan.planner import solve
from propensity.decision.plan.request import Campaign, PlanLimits, Request, check, request_of
from propensity.decision.result import DecisionResult
from propensity.decision.setting import check_kinds
from propensity.decision.table import aligned
from propensity.decision.value_file import file_of, predicted_day, rows_of_file, summary_of
from propensity.errors import ConfigurationError, InfeasibleError

LEAN_IN, INTERVENE, LET_GO = "lean_in", "intervene", "let_go"
ACTIONS = (LEAN_IN, INTERVENE, LET_GO)
NO_EFFECT = "no experiment is on file"


@dataclass
class Play:
    """A named play: what is done with customers of one kind.

    Parameters
    ----------
    name : str
        Of the play.
    action : {"lean_in", "intervene"}
        For customers of low risk (grow them) or of high risk (save them).
    channel : str, optional
        Only customers who consent to it. None: those who consent to at least one.
    cost : float, optional
        Money per customer; None: the cost of the decision.
    least, most : int
        Smallest and largest number of customers; `most` None: no limit.
    where : str, optional
        SQL condition on customers.
    experiment : str, optional
        Analysis of an experiment of this play: analysis.json, or its folder. None: no effect is claimed.
    arm, outcome : str, optional
        Arm of the play in the analysis (None: the name of the play) and the outcome (None: the only one).
    """

    name: str
    action: str
    channel: str | None = None
    cost: float | None = None
    least: int = 0
    most: int | None = None
    where: str | None = None
    experiment: str | None = None
    arm: str | None = None
    outcome: str | None = None

    def __post_init__(self) -> None:
        if self.action not in (LEAN_IN, INTERVENE):
            raise ConfigurationError(f"play {self.name}: action={self.action} is none; give {LEAN_IN} or {INTERVENE}")
        if self.cost is not None and not self.cost >= 0:
            raise ConfigurationError(f"play {self.name}: cost={self.cost} is below 0; give 0 or more")

    def effect(self) -> Effect:
        """The effect of its experiment, or why none is claimed."""
        if self.experiment is None:
            return no_effect(NO_EFFECT)
        return effect_of(self.experiment, self.arm or self.name, self.outcome)

    def campaign(self) -> Campaign:
        """The play as a campaign of the planner, on the day of the cutoff."""
        return Campaign(
            self.name, channel=self.channel, least=self.least, most=self.most, cost=self.cost, where=self.where
        )


def play_of(settings: Mapping[str, Any]) -> Play:
    """A play from its entry in YAML; ConfigurationError for an unknown key or a value of the wrong kind."""
    keys = [field.name for field in fields(Play)]
    for key in settings:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, 1, 0.0)[0]
            raise ConfigurationError(f"a play has no setting {key}; did you mean {near}?")
    for key in ("name", "action"):
        if key not in settings:
            raise ConfigurationError(f"play {dict(settings)} has no {key}; add {key}: ...")
    check_kinds(settings, Play, f"play {settings['name']}: ")
    return Play(**settings)


class Risks(NamedTuple):
    """What is known of N customers: (N,) value in money and risk in [0, 1], NaN where unknown; and on what grounds."""

    value: np.ndarray
    risk: np.ndarray
    sentences: list[str]


@dataclass
class Allocate:
    """Which customers to lean in on, which to save and which to let go, under a budget.

    Parameters
    ----------
    clv : str, optional
        File or folder of `propensity clv`: value. None: the expected revenue of all offers of the scores.
    churn : str, optional
        File or folder of `propensity churn`: risk. None: one minus the highest probability of an offer, which the risk
        to buy nothing in the horizon does not exceed.
    weeks : int, optional
        Horizon of the value in the file; None: 52, or the longest that is shorter.
    plays : Sequence[Mapping[str, Any]], optional
        Settings of `Play`. None: one play `lean_in` and one `intervene`, without an experiment.
    risk : float
        From which a customer is at risk, in (0, 1).
    break_even : float
        Effect that must pay for a play without an experiment, in (0, 1]: who costs more than so much of the value at
        stake is let go. It is a limit, and no effect that is claimed.
    budget : float, optional
        Money for all plays.
    margin : float
        Share of the revenue that is earned.
    cost : float
        Money per customer, where a play names none.
    day, week, rolling
        Contact caps, see `decision.plan.request.PlanLimits`.
    prices : bool
        Plan again with each limit one unit wider, to check its shadow price.
    ignore_consent : bool
        Contact customers regardless of consent; the result says so.

    Raises
    ------
    ConfigurationError
        If a setting is out of range or a file is not there.
    InfeasibleError
        If no customer may be contacted, or no plan meets the limits.
    """

    clv: str | None = None
    churn: str | None = None
    weeks: int | None = None
    plays: Sequence[Mapping[str, Any]] | None = None
    risk: float = 0.5
    break_even: float = 0.05
    budget: float | None = None
    margin: float = 0.3
    cost: float = 0.02
    day: int = 1
    week: int = 3
    rolling: bool = True
    prices: bool = True
    ignore_consent: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.risk < 1:
            raise ConfigurationError(f"decision.risk={self.risk} must lie between 0 and 1")
        for name in ("break_even", "margin"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigurationError(f"decision.{name}={getattr(self, name)} must be above 0 and at most 1")
        self.plan_limits = PlanLimits(self.day, self.week, self.rolling, budget=self.budget)

    def __call__(self, context: DecisionContext) -> DecisionResult:
        context = context.with_consent(self.ignore_consent)
        plays = [play_of(each) for each in self.plays] if self.plays is not None else None
        plays = plays or [Play(LEAN_IN, LEAN_IN), Play(INTERVENE, INTERVENE)]
        campaigns = [play.campaign() for play in plays]
        check(campaigns, self.plan_limits, [campaign.channel for campaign in campaigns])
        effects = [play.effect() for play in plays]
        known = self.risks(context)
        claimed = any(effect.claimed for effect in effects)
        used = [(p, e) for p, e in zip(plays, effects, strict=True) if e.claimed or not claimed]
        candidates = [self.candidate(context, play, effect, known) for play, effect in used]
        if not any(candidate.reachable.any() for candidate in candidates):
            raise InfeasibleError(
                f"none of {known.value.size:,} customers may be contacted by a play; score customers who consented"
            )
        chosen, prices, bound = self.plan(context, candidates, claimed)
        return self.result(context, known, candidates, chosen, prices, bound, claimed, zip(plays, effects, strict=True))

    def risks(self, context: DecisionContext) -> Risks:
        """Value and risk of the customers of the scores."""
        scores, sentences = context.scores, []
        if self.clv is None:
            context.require_revenue()
            value = self.margin * scores.revenue.sum(axis=1, dtype=float)
            sentences.append("value is the expected revenue of all offers of the scores in their horizon")
        else:
            value, text = self.value_on_file(context, self.clv)
            sentences.append(text)
        if self.churn is None:
            risk = 1.0 - scores.probability.max(axis=1).astype(float)
            sentences.append(
                "risk is one minus the highest probability of an offer, an upper bound of buying nothing; give "
                "decision.churn for a risk of churn"
            )
        else:
            path = file_of(self.churn, "churn")
            table = rows_of_file(path, "churn", ("customer_id", "p_churn"))
            own = aligned(table, scores.customer, str(path))
            risk = np.clip(own["p_churn"].cast(pl.Float64).to_numpy(), 0.0, 1.0)
            sentences += _dates(path, table, context)
        if missing := int((~np.isfinite(value + risk)).sum()):
            sentences.append(f"{missing:,} customers have no value or no risk on file and are let go")
        return Risks(value, risk, sentences)

    def value_on_file(self, context: DecisionContext, clv: str) -> tuple[np.ndarray, str]:
        """(N,) margin of the expected revenue on file, and a sentence on it."""
        path = file_of(clv, "clv")
        table = rows_of_file(path, "clv", ("customer_id", "weeks", "expected_revenue"))
        weeks = sorted(table["weeks"].unique().to_list())
        chosen = self.weeks if self.weeks is not None else max([w for w in weeks if w <= 52] or weeks[:1])
        if chosen not in weeks:
            raise ConfigurationError(f"{path} has no value of {chosen} weeks; it has {', '.join(map(str, weeks))}")
        own = aligned(table.filter(pl.col("weeks") == chosen), context.scores.customer, str(path))
        value = self.margin * own["expected_revenue"].cast(pl.Float64).to_numpy()
        text = "; ".join([f"value is the expected revenue of {chosen} weeks of {path}", *_dates(path, table, context)])
        return value, text

    def candidate(self, context: DecisionContext, play: Play, effect: Effect, known: Risks) -> Candidate:
        """Who may get a play, and what it is worth for each of them."""
        reachable = context.reachable(play.channel)
        if play.where is not None:
            reachable &= context.where(play.where)
        finite = np.isfinite(known.value + known.risk)
        at_risk = known.risk >= self.risk
        fitting = reachable & finite & (at_risk if play.action == INTERVENE else ~at_risk)
        stake = np.where(finite, known.value * (known.risk if play.action == INTERVENE else 1 - known.risk), 0.0)
        stake = np.maximum(stake, 0.0)
        cost = self.cost if play.cost is None else play.cost
        if not effect.claimed:
            fitting &= self.break_even * stake >= cost
            nothing = np.full(stake.size, np.nan)
            return Candidate(play, effect, reachable, fitting, stake, nothing, nothing, nothing, cost)
        gain, low, high = (stake * rate for rate in rates(effect, play, stake[fitting]))
        return Candidate(play, effect, reachable, fitting, stake, gain, low, high, cost)

    def plan(
        self, context: DecisionContext, candidates: Sequence[Candidate], claimed: bool
    ) -> tuple[np.ndarray, pl.DataFrame, float]:
        """(N,) the candidate that each customer gets, -1 for none; prices of the limits; and an upper bound."""
        if not any(candidate.fitting.any() for candidate in candidates):
            return np.full(context.scores.customer.size, -1), pl.DataFrame(), 0.0
        worth = [np.where(c.fitting, c.gain if claimed else c.stake, -np.inf).astype(np.float32) for c in candidates]
        campaigns = [candidate.play.campaign() for candidate in candidates]
        request = request_of(context, campaigns, self.plan_limits, np.stack(worth, axis=1), self.cost)
        if not claimed:  # the budget is of money; what is planned is value at stake, from which no cost is taken
            free = np.zeros_like(request.problem.cost)
            request = request._replace(problem=request.problem._replace(cost=free))
        pinned = pin(request, context.scores.customer)
        plan = solve(pinned.remaining.problem, context.seed)
        if plan.short.any():
            raise InfeasibleError(clash(pinned.remaining, plan, self.plan_limits))
        picks = joined(plan, pinned)
        slot = picks[:, 0].astype(np.int64)
        chosen = np.where(slot >= 0, request.problem.calendar.campaign[np.maximum(slot, 0)], -1)
        return chosen, _prices(request, price_list(pinned.remaining, plan, context.seed, self.prices)), plan.bound

    def result(
        self,
        context: DecisionContext,
        known: Risks,
        candidates: Sequence[Candidate],
        chosen: np.ndarray,
        prices: pl.DataFrame,
        bound: float,
        claimed: bool,
        effects: Any,
    ) -> DecisionResult:
        """Tables, sentences, page and picture."""
        table = customer_table(context, known, candidates, chosen, self.risk)
        actions = action_table(table, claimed)
        named = [(play.name, effect) for play, effect in effects]
        spent = float(table["cost"].sum())
        sentences = [
            *(_of_play(name, effect, claimed) for name, effect in named),
            _headline(table, context, spent, self.budget, claimed),
            *known.sentences,
            *_price_sentences(prices, claimed),
            *context.gate.sentences(),
        ]
        if claimed:
            sentences.insert(1, f"upper bound on the expected gain of any plan: {bound:,.2f} after cost")
        summary = {
            "decision": "allocate",
            "cutoff": context.scores.cutoff,
            "consent": context.gate.summary(),
            "effect_claimed": claimed,
            "effects": {name: e._asdict() | {"claimed": e.claimed} for name, e in named},
            "budget": self.budget,
            "spent": spent,
            "actions": actions.to_dicts(),
            "prices": prices.to_dicts(),
            "bound": bound,
        }
        tables = {"actions": actions} | ({"prices": prices} if prices.width else {})
        page = html(context.scores.cutoff, sentences, {"Actions": actions, "Shadow prices": prices}, claimed)
        draw = picture(table, actions, self.risk, claimed)
        return DecisionResult("allocate", table, sentences, actions, summary, draw, tables, page)


class Candidate(NamedTuple):
    """A play for N customers: who may be contacted, whom it is for, value at stake, gain before cost with its interval
    (NaN where no effect is claimed), and cost per customer."""

    play: Play
    effect: Effect
    reachable: np.ndarray
    fitting: np.ndarray
    stake: np.ndarray
    gain: np.ndarray
    low: np.ndarray
    high: np.ndarray
    cost: float


def rates(effect: Effect, play: Play, stake: np.ndarray) -> tuple[float, float, float]:
    """Gain as a share of the value at stake, with its interval.

    Parameters
    ----------
    effect : Effect
        A claimed effect.
    play : Play
        The play it is of.
    stake : np.ndarray
        (n,) value at stake of the customers that the play is for.

    Returns
    -------
    tuple[float, float, float]
        For an outcome that is a share of customers, such as retention: its difference, over one minus the control's
        where it is known for a play that intervenes (who would have left), and over the control's for one that leans
        in. For an outcome in money: its difference over the control's, or over the mean value at stake. At most 1 for
        a play that intervenes.
    """
    is_share = effect.control is None and abs(effect.value) < 1 or effect.control is not None and effect.control <= 1
    if play.action == INTERVENE and is_share:
        base = 1.0 if effect.control is None else 1.0 - effect.control
    elif effect.control is not None:
        base = effect.control
    else:
        base = 1.0 if is_share else float(stake.mean()) if stake.size else 1.0
    base = base if base > 0 else 1.0
    high = 1.0 if play.action == INTERVENE else np.inf
    value, low, top = (float(min(each / base, high)) for each in (effect.value, effect.low, effect.high))
    return value, low, top


def customer_table(
    context: DecisionContext, known: Risks, candidates: Sequence[Candidate], chosen: np.ndarray, threshold: float
) -> pl.DataFrame:
    """One row per customer: the action, its play, value, risk, value at stake, gain, cost and reason."""
    size = chosen.size
    at_risk = known.risk >= threshold
    money = {name: np.full(size, np.nan) for name in ("expected_gain", "gain_low", "gain_high")}
    cost, play = np.zeros(size), np.full(size, None, object)
    channel, action = np.full(size, None, object), np.full(size, LET_GO, object)
    for k, each in enumerate(candidates):
        own = chosen == k
        play[own], channel[own], action[own], cost[own] = each.play.name, each.play.channel, each.play.action, each.cost
        for name, values in zip(money, (each.gain, each.low, each.high), strict=True):
            money[name][own] = values[own]
    stake = np.nan_to_num(known.value * np.where(at_risk, known.risk, 1 - known.risk))
    able = np.logical_or.reduce([each.reachable for each in candidates])
    worth = np.logical_or.reduce([each.fitting & ~(each.gain < each.cost) for each in candidates])
    reason = np.select(
        [chosen >= 0, ~np.isfinite(known.value + known.risk), ~able, ~worth],
        ["", "no value or risk on file", "may not be contacted", "does not pay for a play"],
        "beyond the budget, a cap or the size of a play",
    )
    table = pl.DataFrame(
        {
            "customer_id": context.scores.customer,
            "action": pl.Series(action.tolist(), dtype=pl.String),
            "play": pl.Series(play.tolist(), dtype=pl.String),
            "channel": pl.Series(channel.tolist(), dtype=pl.String),
            "value": known.value,
            "risk": known.risk,
            "at_risk": at_risk,
            "value_at_stake": stake,
            **money,
            "cost": cost,
            "break_even_effect": np.where((chosen >= 0) & (stake > 0), cost / np.maximum(stake, 1e-12), np.nan),
            "reason": pl.Series([text or None for text in reason.tolist()], dtype=pl.String),
        }
    )
    return table.with_columns(pl.selectors.float().fill_nan(None))


def action_table(table: pl.DataFrame, claimed: bool) -> pl.DataFrame:
    """One row per action and play: customers, value, value at stake, cost and, where it is claimed, gain."""
    gains = [pl.col(name).sum() for name in ("expected_gain", "gain_low", "gain_high")] if claimed else []
    sums = table.group_by("action", "play").agg(
        pl.len().alias("customers"), pl.col("risk").mean(), pl.col("value", "value_at_stake", "cost").sum(), *gains
    )
    place = {name: k for k, name in enumerate(ACTIONS)}
    return sums.sort(pl.col("action").replace_strict(place, return_dtype=pl.Int64), "play")


def _prices(request: Request, prices: pl.DataFrame) -> pl.DataFrame:
    """Shadow prices with the names of plays."""
    return prices.with_columns(pl.col("limit").str.replace("audience of ", "customers of "))


def _price_sentences(prices: pl.DataFrame, claimed: bool) -> list[str]:
    """The highest shadow prices, a sentence each, in gain or in value at stake."""
    if not prices.width:
        return []
    unit = "" if claimed else " of value at stake"
    best = prices.filter(pl.col("shadow_price").abs() > 1e-9).head(6)
    return [f"shadow price of {row['limit']}: {row['shadow_price']:,.4f}{unit}" for row in best.to_dicts()]


def _dates(path: Any, table: pl.DataFrame, context: DecisionContext) -> list[str]:
    """A sentence where a file was predicted at another date than the scores; nothing where its date is not known."""
    if "cutoff" not in table.columns and "cutoff" not in summary_of(path):
        return []
    day = to_date(predicted_day(path, table)).isoformat()
    return [] if day == context.scores.cutoff else [f"{path} was predicted on {day}, not on {context.scores.cutoff}"]


def _of_play(name: str, effect: Effect, claimed: bool) -> str:
    if effect.claimed:
        return f"{name}: effect on {effect.outcome} {effect.value:+.4g} [{effect.low:+.4g}, {effect.high:+.4g}]"
    rest = "; it gets no money beside plays with an effect" if claimed else ""
    return f"{name}: no effect is claimed, because {effect.reason}{rest}"


def _headline(table: pl.DataFrame, context: DecisionContext, spent: float, budget: float | None, claimed: bool) -> str:
    own = table.filter(pl.col("play").is_not_null())
    text = f"{own.height:,} of {context.gate.contactable()} get a play for {spent:,.2f}"
    text += "" if budget is None else f" of {budget:,.2f}"
    if not claimed:
        return (
            f"{text}; value at stake {own['value_at_stake'].sum():,.2f}, which is predicted, and not what the plays "
            "bring: that takes an experiment"
        )
    gain, low, high = (float(own[name].sum()) for name in ("expected_gain", "gain_low", "gain_high"))
    return f"{text}; expected gain before cost {gain:,.2f} [{low:,.2f}, {high:,.2f}]"


def picture(table: pl.DataFrame, actions: pl.DataFrame, threshold: float, claimed: bool) -> Any:
    colours = {LEAN_IN: GREEN, INTERVENE: ORANGE, LET_GO: "#b8bcc4"}
    marks = {LEAN_IN: "^", INTERVENE: "s", LET_GO: "o"}

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(1.4, 1))
        known = table.filter(pl.col("value").is_not_null() & pl.col("risk").is_not_null())
        for action in reversed(ACTIONS):
            own = known.filter(pl.col("action") == action)
            own = own.sample(min(own.height, 3_000), seed=0)
            style = {"marker": marks[action], "color": colours[action], "alpha": 0.6, "linewidths": 0, "s": 14}
            left.scatter(own["risk"], own["value"], label=action.replace("_", " "), **style)
        left.axvline(threshold, color=INK, ls=":", lw=1)
        left.set(xlabel="risk", ylabel="value", xlim=(-0.02, 1.02), title="Customers by risk and value")
        left.set_yscale("symlog", linthresh=max(float(known["value"].median() or 1.0), 1e-3))  # type: ignore[arg-type]
        left.set_ylim(bottom=0)
        left.legend(loc="upper right", fontsize=8)
        names = [row["play"] or row["action"].replace("_", " ") for row in actions.to_dicts()]
        amounts = actions["expected_gain" if claimed else "value_at_stake"].fill_null(0.0).to_list()
        right.barh(names, amounts, color=[colours[name] for name in actions["action"]])
        right.barh(names, actions["cost"].to_list(), 0.3, color=BLUE, label="cost")
        right.invert_yaxis()
        right.set(xlabel="money", title="Expected gain and cost" if claimed else "Value at stake and cost")
        right.legend(loc="lower right", fontsize=8)

    return draw
