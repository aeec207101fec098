"""Overlap: do two offers speak to the same customers, and is one campaign enough for both?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.decision.context import DecisionContext, best_first
from propensity.decision.picture import BLUE, ORANGE, short
from propensity.decision.result import DecisionResult
from propensity.errors import ConfigurationError

WORK = 3e8  # pairs x customers up to which every pair gets its joint campaign; else pairs of the strongest offers
ALIKE = 0.5  # overlap at which groups of offers are cut


@dataclass
class Overlap:
    """What the best audiences of offers have in common.

    offers: two to answer for in words; None takes the most alike of the ten with the highest expected revenue. share of
    the customers in an audience; margin of the revenue; cost of a message. One campaign writes once, about both offers,
    to as many customers as the audience of one; two campaigns write to each audience, twice to those in both.
    """

    offers: Sequence[str] | None = None
    share: float = 0.1
    margin: float = 0.3
    cost: float = 0.1

    def __post_init__(self) -> None:
        if self.offers is not None and (len(self.offers) != 2 or self.offers[0] == self.offers[1]):
            raise ConfigurationError(f"decision.offers={list(self.offers)} must name two offers")
        for name in ("share", "margin"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigurationError(
                    f"decision.{name}={getattr(self, name)} is no share; give more than 0 and at most 1"
                )
        if not self.cost >= 0:
            raise ConfigurationError(f"decision.cost={self.cost} is below 0; give 0 or more")

    def __call__(self, context: DecisionContext) -> DecisionResult:
        scores = context.scores
        if len(scores.offer) < 2:
            raise ConfigurationError(f"{len(scores.offer)} offer cannot overlap; score two or more")
        money = scores.revenue.astype(np.float64)
        size = max(1, round(self.share * money.shape[0]))
        member = audiences(money, scores.customer, size)
        common = member.T.astype(np.float32) @ member / size
        correlation = rank_correlation(money)
        tree = linkage(common)
        strong = np.argsort(-money.sum(axis=0), kind="stable")
        first, second = self.asked(context, common, strong)
        pairs = self.pairs(money, member, strong, (first, second), size)
        table = pl.DataFrame(
            {
                "offer_a": [scores.offer[a] for a, _ in pairs.pair],
                "offer_b": [scores.offer[b] for _, b in pairs.pair],
                "common": [float(common[a, b]) for a, b in pairs.pair],
                "rank_correlation": [float(correlation[a, b]) for a, b in pairs.pair],
                "revenue_of_one": pairs.one,
                "revenue_of_two": pairs.two,
                "profit_of_one": self.margin * pairs.one - self.cost * size,
                "profit_of_two": self.margin * pairs.two - self.cost * 2 * size,
            },
            schema_overrides={"offer_a": pl.String, "offer_b": pl.String},
        )
        table = table.with_columns(
            advice=pl.when(pl.col("profit_of_one") >= pl.col("profit_of_two"))
            .then(pl.lit("one campaign"))
            .otherwise(pl.lit("two campaigns"))
        ).sort("common", "offer_a", "offer_b", descending=[True, False, False])
        names = [scores.offer[first], scores.offer[second]]
        asked = table.filter(pl.col("offer_a").is_in(names) & pl.col("offer_b").is_in(names)).to_dicts()[0]
        groups = pl.DataFrame({"offer_id": list(scores.offer), "group": tree.group + 1}).sort("group", "offer_id")
        largest = (
            groups.group_by("group").agg(pl.len(), pl.col("offer_id")).sort("len", "group", descending=[True, False])
        )
        summary = {
            "decision": "overlap",
            "cutoff": scores.cutoff,
            "audience": size,
            "asked": asked,
            "groups": groups["group"].n_unique(),
        }
        said = [
            self.words(asked, size),
            f"{len(scores.offer)} offers fall into {summary['groups']} groups whose audiences have on average "
            f"{ALIKE:.0%} or more in common; the largest holds {', '.join(largest['offer_id'][0].to_list()[:6])}",
        ]
        shown = table.select("offer_a", "offer_b", "common", "rank_correlation", "advice")
        drawn = picture(common[np.ix_(tree.order, tree.order)], money, member, first, second, scores.offer)
        return DecisionResult("overlap", table, said, shown, summary, drawn, {"groups": groups})

    def asked(self, context: DecisionContext, common: np.ndarray, strong: np.ndarray) -> tuple[int, int]:
        if self.offers is not None:
            return context.offer(self.offers[0]), context.offer(self.offers[1])
        top = strong[:10]
        alike = common[np.ix_(top, top)] - 2 * np.eye(top.size)
        a, b = divmod(int(alike.argmax()), top.size)
        return int(top[a]), int(top[b])

    def pairs(
        self, money: np.ndarray, member: np.ndarray, strong: np.ndarray, asked: tuple[int, int], size: int
    ) -> JointCampaigns:
        """One campaign against two, for all pairs or for those of the strongest offers."""
        room = int(np.sqrt(2 * WORK / money.shape[0]))
        kept = np.unique(np.append(strong[: max(room, 20)], asked))
        pair = [(int(a), int(b)) for k, a in enumerate(kept) for b in kept[k + 1 :]]
        own = (money * member).sum(axis=0)
        one = np.array([joint(money[:, a] + money[:, b], size) for a, b in pair])
        two = np.array([own[a] + own[b] for a, b in pair])
        return JointCampaigns(pair, one, two)

    def words(self, row: dict[str, Any], size: int) -> str:
        kept = row["revenue_of_one"] / row["revenue_of_two"] if row["revenue_of_two"] > 0 else 1.0
        return (
            f"{row['offer_a']} and {row['offer_b']}: {row['common']:.0%} of their best {size:,} customers in common, "
            f"rank correlation {row['rank_correlation']:.2f}. One campaign about both keeps {kept:.0%} of the revenue "
            f"of two with half the messages: expected profit {row['profit_of_one']:,.2f} against "
            f"{row['profit_of_two']:,.2f}. Send {row['advice']}"
        )


class JointCampaigns(NamedTuple):
    """Offers by number; expected revenue of one joint campaign and of two, each (pairs,)."""

    pair: list[tuple[int, int]]
    one: np.ndarray
    two: np.ndarray


def audiences(money: np.ndarray, customer: np.ndarray, size: int) -> np.ndarray:
    """(N, M) bool: the best `size` customers of each offer; ties by lot."""
    member = np.zeros(money.shape, bool)
    for m in range(money.shape[1]):
        member[best_first(money[:, m], customer)[:size], m] = True
    return member


def joint(value: np.ndarray, size: int) -> float:
    """The sum of the largest `size` values."""
    return float(np.partition(value, value.size - size)[value.size - size :].sum())


def rank_correlation(money: np.ndarray) -> np.ndarray:
    """(M, M) Spearman's correlation over customers; equal values share a rank, and a constant agrees with nothing."""
    ranks = np.empty(money.shape)
    for m in range(money.shape[1]):
        _, place, count = np.unique(money[:, m], return_inverse=True, return_counts=True)
        ranks[:, m] = (np.cumsum(count) - (count - 1) / 2)[place]
    centred = ranks - ranks.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    scaled = centred / np.where(length > 0, length, 1.0)
    correlation: np.ndarray = scaled.T @ scaled
    return correlation


class Tree(NamedTuple):
    """order (M,) of the leaves, alike ones side by side; group (M,) numbered from 0 in that order."""

    order: np.ndarray
    group: np.ndarray


def linkage(alike: np.ndarray) -> Tree:
    """Joins the two groups that are most alike on average, again and again (average linkage; Sokal, Michener, 1958)."""
    m = alike.shape[0]
    near = alike.astype(np.float64).copy()
    np.fill_diagonal(near, -np.inf)
    leaves = [[k] for k in range(m)]
    cut: list[list[int]] | None = None
    for _ in range(m - 1):
        a, b = divmod(int(near.argmax()), m)
        if cut is None and near[a, b] < ALIKE:
            cut = [list(part) for part in leaves if part]
        weight = len(leaves[a]), len(leaves[b])
        near[a] = near[:, a] = (weight[0] * near[a] + weight[1] * near[b]) / sum(weight)
        near[a, a] = -np.inf
        near[b] = near[:, b] = -np.inf
        leaves[a] += leaves[b]
        leaves[b] = []
    order = next(part for part in leaves if part)
    group = np.zeros(m, np.int64)
    place = {leaf: k for k, leaf in enumerate(order)}
    for k, part in enumerate(sorted(cut or [order], key=lambda part: min(place[leaf] for leaf in part))):
        group[part] = k
    return Tree(np.array(order), group)


def picture(
    common: np.ndarray, money: np.ndarray, member: np.ndarray, first: int, second: int, offer: tuple[str, ...]
) -> Any:
    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
        image = left.imshow(common, cmap="Blues", vmin=0, vmax=1)
        left.grid(False)
        left.set(title="Customers in common, all offers, alike ones together", xlabel="offers", ylabel="offers")
        figure.colorbar(image, ax=left, shrink=0.7, label="share of the audience")
        both = member[:, first] & member[:, second]
        for mask, colour, mark, name in (
            (~(member[:, first] | member[:, second]), "#b8bcc4", ".", "in neither audience"),
            (member[:, first] ^ member[:, second], BLUE, "o", "in one"),
            (both, ORANGE, "D", "in both"),
        ):
            right.plot(money[mask, first], money[mask, second], mark, color=colour, ms=3, alpha=0.6, label=name)
        right.set(
            xlabel=short(offer[first], 40), ylabel=short(offer[second], 40), title="Expected revenue of a customer"
        )
        right.set_xscale("symlog", linthresh=1.0)
        right.set_yscale("symlog", linthresh=1.0)
        right.legend(frameon=True, edgecolor="none", loc="lower right", markerscale=2)

    return draw
