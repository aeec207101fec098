"""The audience of an offer: its best customers, as many as asked for or as many as pay for themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.decision.context import DecisionContext, best_first
from propensity.decision.picture import BLUE, INK, ORANGE, SKY
from propensity.decision.result import DecisionResult
from propensity.errors import ConfigurationError, InfeasibleError

BY = ("revenue", "probability", "margin")
RULES = ("size", "share", "minimum")


class Expected(NamedTuple):
    """A sum over an audience and the band in which 95 of 100 outcomes lie."""

    value: float
    low: float
    high: float


@dataclass
class Audience:
    """The best customers for one offer.

    offer: None is the one with the highest expected revenue. by: what customers are ranked and `minimum` is measured
    by: revenue, probability, or margin (`margin` of the revenue). One of size, share of the customers who may be
    written to, and minimum (least expected value a customer) says how many; with none of them but a `cost` per message
    it is the size of the highest expected profit, without a cost the best tenth. channel: only customers with
    `consent_<channel>`; recent: nobody who bought the offer in that many days; where: an SQL condition on customers.
    spread: standard deviation of what a buyer pays, over its mean; it widens the band of revenue.
    """

    offer: str | None = None
    by: str = "revenue"
    size: int | None = None
    share: float | None = None
    minimum: float | None = None
    cost: float | None = None
    margin: float = 0.3
    channel: str | None = None
    recent: int | None = None
    where: str | None = None
    spread: float = 1.0

    def __post_init__(self) -> None:
        if self.by not in BY:
            raise ConfigurationError(f"decision.by={self.by} is no value; give one of {', '.join(BY)}")
        if len(given := [name for name in RULES if getattr(self, name) is not None]) > 1:
            raise ConfigurationError(f"decision.{given[0]} and decision.{given[1]} both say how many; give one of them")
        if self.size is not None and self.size < 1:
            raise ConfigurationError(f"an audience of {self.size} is nobody; give decision.size=1 or more")
        for name, low, high in (("share", 0.0, 1.0), ("margin", 0.0, 1.0)):
            if (value := getattr(self, name)) is not None and not low < value <= high:
                raise ConfigurationError(f"decision.{name}={value} is no share; give more than 0 and at most 1")
        for name in ("cost", "recent", "spread"):
            if (value := getattr(self, name)) is not None and not value >= 0:
                raise ConfigurationError(f"decision.{name}={value} is below 0; give 0 or more")

    def __call__(self, context: DecisionContext) -> DecisionResult:
        scores = context.scores
        m = int(scores.revenue.sum(axis=0, dtype=float).argmax()) if self.offer is None else context.offer(self.offer)
        last = None if context.past is None else self.days_since(context, m)
        left_out = self.exclusions(context, m, last)
        free = ~np.logical_or.reduce(list(left_out.values()))
        value = self.value(context, m)
        ranked = best_first(value, scores.customer)
        ranked = ranked[free[ranked]]
        self.refuse(context, ranked.size, left_out)
        kept = ranked[: self.count(value[ranked], self.margin * scores.revenue[ranked, m])]
        if kept.size == 0:
            best = f"the best customer's expected {self.by} is {value[ranked[0]]:,.4g}"
            rule = f"decision.minimum={self.minimum}" if self.minimum is not None else f"decision.cost={self.cost}"
            raise InfeasibleError(f"nobody is worth a message about {scores.offer[m]}: {best}; lower {rule}")
        return self.result(context, m, value, ranked, kept, last, left_out)

    def days_since(self, context: DecisionContext, m: int) -> np.ndarray:
        """(N,) days since each customer last bought the offer; NaN is never."""
        assert context.past is not None
        row = context.past.rows(context.scores.customer)
        return context.past.pairs(row, (context.scores.offer[m],), "recency")[:, 0]

    def exclusions(self, context: DecisionContext, m: int, last: np.ndarray | None) -> dict[str, np.ndarray]:
        """Who may not be written to, by reason: masks (N,)."""
        masks = {"suppressed": ~context.reachable(None)}
        if self.channel is not None:
            masks[f"no consent for {self.channel}"] = ~context.reachable(self.channel)
        if self.recent is not None:
            if last is None:
                raise ConfigurationError("decision.recent needs the event log; give log=<folder>, or leave it out")
            masks[f"bought it in the last {self.recent} days"] = last <= self.recent
        if self.where is not None:
            masks[f"not {self.where}"] = ~context.where(self.where)
        return masks

    def value(self, context: DecisionContext, m: int) -> np.ndarray:
        """(N,) what customers are ranked by."""
        if self.by == "probability":
            return context.scores.probability[:, m].astype(np.float64)
        return context.scores.revenue[:, m].astype(np.float64) * (self.margin if self.by == "margin" else 1.0)

    def refuse(self, context: DecisionContext, free: int, left_out: dict[str, np.ndarray]) -> None:
        everybody = context.scores.customer.size
        if self.size is not None and self.size > everybody:
            raise ConfigurationError(
                f"an audience of {self.size} was asked of {everybody} customers; give decision.size={everybody} or less"
            )
        if free == 0 or free < (self.size or 0):
            reasons = ", ".join(f"{int(mask.sum())} {reason}" for reason, mask in left_out.items() if mask.any())
            raise InfeasibleError(
                f"{free} of {everybody} customers may be written to and {self.size or 'some'} are wanted "
                f"({reasons} are left out); lower decision.size or drop an exclusion"
            )

    def count(self, value: np.ndarray, margin: np.ndarray) -> int:
        """How many of the ranked customers are kept, from their values and expected margins, best first."""
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
        value: np.ndarray,
        ranked: np.ndarray,
        kept: np.ndarray,
        last: np.ndarray | None,
        left_out: dict[str, np.ndarray],
    ) -> DecisionResult:
        scores = context.scores
        chance, money = scores.probability[kept, m].astype(float), scores.revenue[kept, m].astype(float)
        buyers, revenue = buyers_of(chance), revenue_of(chance, money, self.spread)
        profit = self.margin * revenue.value - (self.cost or 0.0) * kept.size
        table = pl.DataFrame(
            {
                "rank": np.arange(1, kept.size + 1),
                "customer_id": scores.customer[kept],
                "offer_id": [scores.offer[m]] * kept.size,
                "score": scores.probability[kept, m],
                "expected_revenue": scores.revenue[kept, m],
                "expected_margin": self.margin * money,
                "days_since_bought": pl.Series(
                    last[kept] if last is not None else [None] * kept.size, dtype=pl.Float32
                ),
            }
        ).with_columns(pl.col("days_since_bought").fill_nan(None))
        never = None if last is None else int(np.isnan(last[kept]).sum())
        summary: dict[str, Any] = {
            "decision": "audience",
            "cutoff": scores.cutoff,
            "offer": scores.offer[m],
            "ranked_by": self.by,
            "customers": kept.size,
            "eligible": ranked.size,
            "left_out": {reason: int(mask.sum()) for reason, mask in left_out.items()},
            "buyers": buyers._asdict(),
            "revenue": revenue._asdict(),
            "profit": profit,
            "never_bought": never,
        }
        said = [
            f"{scores.offer[m]} on {scores.cutoff}: {kept.size:,} of {ranked.size:,} customers who may be written to; "
            f"{buyers.value:,.1f} buyers expected [{buyers.low:,.1f}, {buyers.high:,.1f}], "
            f"revenue {revenue.value:,.2f} [{revenue.low:,.2f}, {revenue.high:,.2f}], profit {profit:,.2f} "
            f"at a margin of {self.margin:.0%} and {self.cost or 0:g} a message",
            ("how many never bought it is unknown without a log" if never is None else f"{never:,} never bought it")
            + "; the bands cover chance, not a mistake of the model",
        ]
        return DecisionResult(
            "audience", table, said, table, summary, self.picture(scores, m, value, ranked, kept.size)
        )

    def picture(self, scores: Any, m: int, value: np.ndarray, ranked: np.ndarray, size: int) -> Any:
        revenue = np.cumsum(scores.revenue[ranked, m].astype(float))
        profit = self.margin * revenue - (self.cost or 0.0) * np.arange(1, ranked.size + 1)
        what = {"revenue": "expected revenue", "probability": "chance to buy", "margin": "expected margin"}[self.by]

        def draw(figure: Any) -> None:
            left, right = figure.subplots(1, 2)
            people = np.arange(1, ranked.size + 1)
            left.plot(people, value[ranked], color=BLUE, label=what)
            left.fill_between(people[:size], value[ranked][:size], color=SKY, alpha=0.5, label="the audience")
            left.set(xlabel="customers, best first", ylabel=what, title=f"{scores.offer[m]}, {scores.cutoff}", ylim=0)
            left.legend()
            right.plot(people, revenue, color=BLUE, label="revenue")
            right.plot(people, profit, color=ORANGE, ls="--", label="profit")
            right.axvline(size, color=INK, ls=":", label=f"{size:,} customers")
            right.set(xlabel="customers written to", title="Expected of the best customers, in all")
            right.legend()

        return draw


def buyers_of(chance: np.ndarray) -> Expected:
    """Buyers among independent customers.

    >>> buyers_of(np.array([.5] * 100))
    Expected(value=50.0, low=40.2, high=59.8)
    """
    value, spread = float(chance.sum()), 1.96 * math.sqrt(float((chance * (1 - chance)).sum()))
    return Expected(value, max(value - spread, 0.0), min(value + spread, float(chance.size)))


def revenue_of(chance: np.ndarray, money: np.ndarray, spread: float) -> Expected:
    """Their revenue, from expected revenues (n,): a buyer pays money / chance, give or take `spread` of it."""
    paid = np.divide(money, chance, out=np.zeros_like(money), where=chance > 0)
    variance = chance * (1 - chance) * paid**2 + chance * (spread * paid) ** 2
    value, width = float(money.sum()), 1.96 * math.sqrt(float(variance.sum()))
    return Expected(value, max(value - width, 0.0), value + width)
