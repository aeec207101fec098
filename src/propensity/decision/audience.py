"""The audience of an offer: the customers with the highest value, by number, share, threshold or profit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.decision.context import DecisionContext, best_first
from propensity.decision.objective import DISCOVERY, LAPSED, is_discovery
from propensity.decision.picture import BLUE, INK, ORANGE, SKY
from propensity.decision.result import DecisionResult
from propensity.decision.stage import STAGES, check_stage, in_stage
from propensity.errors import ConfigurationError, InfeasibleError

BY = ("revenue", "probability", "margin")
SIZE_SETTINGS = ("size", "share", "minimum")


class Expected(NamedTuple):
    """Expected value of a sum over an audience, and its 95 % prediction interval."""

    value: float
    low: float
    high: float


@dataclass
class Audience:
    """The customers with the highest value for one offer.

    Parameters
    ----------
    offer : str, optional
        Offer id. None: the offer with the highest expected revenue, or with most expected buyers where the scores
        expect no revenue.
    by : {"revenue", "probability", "margin"}, optional
        What customers are ranked by and `minimum` refers to. None: revenue, or probability where the scores expect no
        revenue.
    size : int, optional
        Number of customers.
    share : float, optional
        Share of the customers who may be contacted, in (0, 1].
    minimum : float, optional
        Lowest expected value of a customer. At most one of `size`, `share` and `minimum`; with none of them, a `cost`
        gives the size of the highest expected profit, and without a cost the audience is a tenth.
    cost : float, optional
        Money per message.
    margin : float
        Share of the revenue that is earned, in (0, 1].
    channel : str, optional
        Only customers who consent to it. None: those who consent to at least one.
    recent : int, optional
        Days; leaves out customers who bought the offer within them.
    where : str, optional
        SQL condition on customers.
    stage : {"onboarding", "second_purchase"}, optional
        Only customers without a purchase, or with one order, before the cutoff.
    spend_cv : float
        Coefficient of variation of what a buyer pays; it widens the interval of revenue.
    not_products : Sequence[str], optional
        Offers that are no campaigns unless they are named, as `data.source.not_products`. None: coupons, fuel,
        vouchers, deposits and the like; []: none.
    ignore_consent : bool
        Contact customers regardless of consent; the result says so.

    Raises
    ------
    ConfigurationError
        If settings are out of range or contradict each other.
    InfeasibleError
        If fewer customers may be contacted than are requested, or nobody pays.
    """

    offer: str | None = None
    by: str | None = None
    size: int | None = None
    share: float | None = None
    minimum: float | None = None
    cost: float | None = None
    margin: float = 0.3
    channel: str | None = None
    recent: int | None = None
    where: str | None = None
    stage: str | None = None
    spend_cv: float = 1.0
    not_products: Sequence[str] | None = None
    ignore_consent: bool = False

    def __post_init__(self) -> None:
        if self.by is not None and self.by not in BY:
            raise ConfigurationError(f"decision.by={self.by} is no value; give one of {', '.join(BY)}")
        check_stage(self.stage)
        if len(chosen := [name for name in SIZE_SETTINGS if getattr(self, name) is not None]) > 1:
            raise ConfigurationError(
                f"decision.{chosen[0]} and decision.{chosen[1]} both set the size; give one of them"
            )
        if self.size is not None and self.size < 1:
            raise ConfigurationError(f"an audience of {self.size} is nobody; give decision.size=1 or more")
        for name, low, high in (("share", 0.0, 1.0), ("margin", 0.0, 1.0)):
            if (value := getattr(self, name)) is not None and not low < value <= high:
                raise ConfigurationError(f"decision.{name}={value} is no share; give more than 0 and at most 1")
        for name in ("cost", "recent", "spend_cv"):
            if (value := getattr(self, name)) is not None and not value >= 0:
                raise ConfigurationError(f"decision.{name}={value} is below 0; give 0 or more")

    def __call__(self, context: DecisionContext) -> DecisionResult:
        context, scores = context.with_settings(self.ignore_consent, self.not_products), context.scores
        by = self.ranked_by(context)
        if by != "probability":
            context.require_revenue()
        of_stage = None if self.stage is None else in_stage(context.history, scores.customer, self.stage)
        every = scores.revenue if scores.revenue.any() else scores.probability
        total = (every if of_stage is None else every[of_stage]).sum(axis=0, dtype=float)
        if self.offer is None and context.stopped.all():
            context.best_sellers(1)  # says why there is none
        m = int(np.where(context.stopped, -np.inf, total).argmax()) if self.offer is None else context.offer(self.offer)
        recency = None if context.history is None else self.recency(context, m)
        excluded = self.exclusions(context, m, recency)
        eligible = ~np.logical_or.reduce([np.zeros(scores.customer.size, bool), *excluded.values()])
        value = self.value(context, m, by)
        ranked = best_first(value, scores.customer)
        ranked = ranked[eligible[ranked] & np.isfinite(value[ranked])]
        self.refuse(context, ranked.size, excluded)
        earned = value if context.objective.uplift is not None else self.margin * scores.revenue[:, m]
        size = self.count(value[ranked], earned[ranked])
        audience, sentences = self.chosen(context, m, ranked, size)
        if context.objective.uplift is not None:
            sentences = [f"messages to this audience cause a margin of {value[audience].sum():,.2f} before their cost"]
        if audience.size == 0:
            best = f"the highest expected {by} of a customer is {value[ranked[0]]:,.4g}"
            limit = f"decision.minimum={self.minimum}" if self.minimum is not None else f"decision.cost={self.cost}"
            raise InfeasibleError(f"no customer pays for a message about {scores.offer[m]}: {best}; lower {limit}")
        result = self.result(context, m, by, value, ranked, audience, recency, excluded)
        stopped, words = context.stop_summary(None if self.offer is None else [self.offer])
        return replace(result, sentences=[*result.sentences, *sentences, *words], summary=result.summary | stopped)

    def chosen(self, context: DecisionContext, m: int, ranked: np.ndarray, size: int) -> tuple[np.ndarray, list[str]]:
        """The best of the ranked customers, with the least share of discovery, and what that costs."""
        objective, offer = context.objective, context.scores.offer[m]
        if objective.name != DISCOVERY or size == 0:
            return ranked[:size], []
        new = is_discovery(context.history, context.scores, [offer])[ranked, 0]
        least = math.ceil(objective.discovery * size)
        if new.sum() < least:
            raise InfeasibleError(
                f"{int(new.sum()):,} of {ranked.size:,} eligible customers never bought {offer} or have lapsed, and "
                f"discovery={objective.discovery:g} of {size:,} requires {least:,}; lower it or the size"
            )
        first = np.flatnonzero(new)[:least]
        rest = np.setdiff1d(np.arange(ranked.size), first)[: size - least]
        place = np.sort(np.concatenate([first, rest]))
        revenue = context.scores.revenue[ranked, m].astype(np.float64)
        cost = self.margin * float(revenue[:size].sum() - revenue[place].sum())
        sentence = (
            f"discovery: {new[place].mean():.1%} of the audience never bought the offer or not in {LAPSED} days "
            f"({new[:size].mean():.1%} without the limit), which costs {cost:,.2f} of predicted margin"
        )
        return ranked[place], [sentence]

    def recency(self, context: DecisionContext, m: int) -> np.ndarray:
        """(N,) days since each customer last bought the offer; NaN: never-bought."""
        assert context.history is not None
        row = context.history.rows(context.scores.customer)
        return context.history.pairs(row, (context.scores.offer[m],), "recency")[:, 0]

    def exclusions(self, context: DecisionContext, m: int, recency: np.ndarray | None) -> dict[str, np.ndarray]:
        """Masks (N,) of the customers who may not be contacted, by reason."""
        allowed = context.reachable(self.channel)
        left_out = context.gate.permission(self.channel).left_out
        masks = {reason: mask & ~allowed for reason, mask in left_out.items() if (mask & ~allowed).any()}
        if context.held is not None and context.held.any():
            masks["in a holdout"] = context.held
        if self.recent is not None:
            if recency is None:
                raise ConfigurationError("decision.recent needs the event log; give log=<folder>, or leave it out")
            masks[f"bought it in the last {self.recent} days"] = recency <= self.recent
        if self.where is not None:
            masks[f"not {self.where}"] = ~context.where(self.where)
        if self.stage is not None:
            of_stage = in_stage(context.history, context.scores.customer, self.stage)
            masks[f"not in the stage {self.stage} ({STAGES[self.stage].words})"] = ~of_stage
        return masks

    def ranked_by(self, context: DecisionContext) -> str:
        """What customers are ranked by: `by`, else revenue, or probability where the scores expect no revenue."""
        return self.by or ("revenue" if context.scores.revenue.any() else "probability")

    def value(self, context: DecisionContext, m: int, by: str) -> np.ndarray:
        """(N,) what customers are ranked by; -inf outside the experiment of an incremental objective."""
        if context.objective.uplift is not None:
            offer = context.scores.offer[m]
            uplift = context.objective.uplift.earned(offer, offer, context.scores.customer, self.margin)
            return np.where(np.isfinite(uplift), uplift, -np.inf)
        if by == "probability":
            return context.scores.probability[:, m].astype(np.float64)
        return context.scores.revenue[:, m].astype(np.float64) * (self.margin if by == "margin" else 1.0)

    def refuse(self, context: DecisionContext, eligible: int, excluded: dict[str, np.ndarray]) -> None:
        """Raises where fewer customers may be contacted than are requested."""
        total = context.scores.customer.size
        if self.size is not None and self.size > total:
            raise ConfigurationError(
                f"decision.size={self.size} is more than the {total} customers of the scores; give {total} or less"
            )
        if eligible == 0 or eligible < (self.size or 0):
            reasons = ", ".join(f"{int(mask.sum())} {reason}" for reason, mask in excluded.items() if mask.any())
            raise InfeasibleError(
                f"{eligible} of {total} customers may be contacted and {self.size or 'some'} are requested "
                f"(excluded: {reasons}); lower decision.size or drop an exclusion"
            )

    def count(self, value: np.ndarray, margin: np.ndarray) -> int:
        """Size of the audience, from the values and expected margins of the ranked customers, best first."""
        if self.size is not None:
            return self.size
        if self.minimum is not None:
            return int((value >= self.minimum).sum())
        if self.share is None and self.cost is not None:
            return int(np.cumsum(margin - self.cost).argmax() + 1) if (np.cumsum(margin - self.cost) > 0).any() else 0
        return max(1, round((0.1 if self.share is None else self.share) * value.size))

    def result(
        self,
        context: DecisionContext,
        m: int,
        by: str,
        value: np.ndarray,
        ranked: np.ndarray,
        audience: np.ndarray,
        recency: np.ndarray | None,
        excluded: dict[str, np.ndarray],
    ) -> DecisionResult:
        scores = context.scores
        probability, expected = scores.probability[audience, m].astype(float), scores.revenue[audience, m].astype(float)
        buyers, revenue = buyers_of(probability), revenue_of(probability, expected, self.spend_cv)
        profit = self.margin * revenue.value - (self.cost or 0.0) * audience.size
        table = pl.DataFrame(
            {
                "rank": np.arange(1, audience.size + 1),
                "customer_id": scores.customer[audience],
                "offer_id": [scores.offer[m]] * audience.size,
                "score": scores.probability[audience, m],
                "expected_revenue": scores.revenue[audience, m],
                "expected_margin": self.margin * expected,
                "days_since_bought": pl.Series(
                    recency[audience] if recency is not None else [None] * audience.size, dtype=pl.Float32
                ),
            }
        ).with_columns(pl.col("days_since_bought").fill_nan(None))
        never_bought = None if recency is None else int(np.isnan(recency[audience]).sum())
        summary: dict[str, Any] = {
            "decision": "audience",
            "cutoff": scores.cutoff,
            "offer": scores.offer[m],
            "ranked_by": by,
            **({} if self.stage is None else {"stage": self.stage}),
            "customers": audience.size,
            "eligible": ranked.size,
            "consent": context.gate.summary(),
            "excluded": {reason: int(mask.sum()) for reason, mask in excluded.items()},
            "buyers": buyers._asdict(),
            "revenue": revenue._asdict(),
            "profit": profit,
            "never_bought": never_bought,
        }
        permitted = int(context.reachable(self.channel).sum())
        who = context.gate.contactable()
        sentences = [
            f"{scores.offer[m]} on {scores.cutoff}: {audience.size:,} of "
            f"{who if ranked.size == permitted else f'{ranked.size:,} eligible customers, of {who}'}, "
            f"ranked by {by}; expected buyers {buyers.value:,.1f} [{buyers.low:,.1f}, {buyers.high:,.1f}], "
            f"revenue {revenue.value:,.2f} [{revenue.low:,.2f}, {revenue.high:,.2f}], profit {profit:,.2f} "
            f"at a margin of {self.margin:.0%} and a cost of {self.cost or 0:g} per message",
            (
                "never-bought customers: unknown without a log"
                if never_bought is None
                else f"never-bought: {never_bought:,}"
            )
            + "; 95 % prediction intervals given the scores, without model error",
            *context.gate.sentences(),
        ]
        return DecisionResult(
            "audience", table, sentences, table, summary, self.picture(scores, m, by, value, ranked, audience.size)
        )

    def picture(self, scores: Any, m: int, by: str, value: np.ndarray, ranked: np.ndarray, size: int) -> Any:
        revenue = np.cumsum(scores.revenue[ranked, m].astype(float))
        profit = self.margin * revenue - (self.cost or 0.0) * np.arange(1, ranked.size + 1)
        label = {"revenue": "expected revenue", "probability": "probability", "margin": "expected margin"}[by]

        def draw(figure: Any) -> None:
            left, right = figure.subplots(1, 2)
            people = np.arange(1, ranked.size + 1)
            left.plot(people, value[ranked], color=BLUE, label=label)
            left.fill_between(people[:size], value[ranked][:size], color=SKY, alpha=0.5, label="the audience")
            left.set(xlabel="customers, best first", ylabel=label, title=f"{scores.offer[m]}, {scores.cutoff}", ylim=0)
            left.legend()
            right.plot(people, revenue, color=BLUE, label="revenue")
            right.plot(people, profit, color=ORANGE, ls="--", label="profit")
            right.axvline(size, color=INK, ls=":", label=f"{size:,} customers")
            right.set(xlabel="customers contacted", title="Cumulative expected revenue and profit")
            right.legend()

        return draw


def buyers_of(probability: np.ndarray) -> Expected:
    """Expected number of buyers among independent customers.

    Parameters
    ----------
    probability : np.ndarray
        (n,) probability of each.

    Returns
    -------
    Expected
        With the normal approximation of a sum of Bernoulli variables.

    Examples
    --------
    >>> buyers_of(np.array([.5] * 100))
    Expected(value=50.0, low=40.2, high=59.8)
    """
    value, spread = float(probability.sum()), 1.96 * math.sqrt(float((probability * (1 - probability)).sum()))
    return Expected(value, max(value - spread, 0.0), min(value + spread, float(probability.size)))


def revenue_of(probability: np.ndarray, expected_revenue: np.ndarray, spend_cv: float) -> Expected:
    """Expected revenue of independent customers.

    Parameters
    ----------
    probability : np.ndarray
        (n,) probability of buying.
    expected_revenue : np.ndarray
        (n,) expected revenue; a buyer pays ``expected_revenue / probability`` on average.
    spend_cv : float
        Coefficient of variation of what a buyer pays.

    Returns
    -------
    Expected
        With the normal approximation of the sum.
    """
    paid = np.divide(expected_revenue, probability, out=np.zeros_like(expected_revenue), where=probability > 0)
    variance = probability * (1 - probability) * paid**2 + probability * (spend_cv * paid) ** 2
    value, width = float(expected_revenue.sum()), 1.96 * math.sqrt(float(variance.sum()))
    return Expected(value, max(value - width, 0.0), value + width)
