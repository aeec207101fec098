"""Overlap of the audiences of offers, and whether one campaign about two offers earns more than two campaigns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.decision.context import DecisionContext, best_first
from propensity.decision.picture import BLUE, ORANGE, short
from propensity.decision.result import DecisionResult
from propensity.errors import ConfigurationError, InfeasibleError

WORK = 3e8  # pairs x customers up to which every pair gets its joint campaign; else pairs of the best-selling offers
GROUPED = 0.5  # mean overlap at which groups of offers are cut


@dataclass
class Overlap:
    """Customers that the audiences of two offers have in common, and the profit of one campaign against two.

    One campaign sends one message about both offers to as many customers as one audience holds; two campaigns send one
    to each audience, two to customers in both.

    Parameters
    ----------
    offers : Sequence[str], optional
        Two offer ids; None: the pair with the largest overlap among the ten offers with the highest expected revenue.
    share : float
        Audience as a share of the customers, in (0, 1].
    margin : float
        Share of the revenue that is earned.
    cost : float
        Money per message.
    not_products : Sequence[str], optional
        Offers that are no campaigns unless they are named, as `data.source.not_products`. None: coupons, fuel,
        vouchers, deposits and the like; []: none.
    ignore_consent : bool
        Contact customers regardless of consent; the result says so.

    Raises
    ------
    ConfigurationError
        If a setting is out of range, or fewer than two offers were scored.
    InfeasibleError
        If the scores expect no revenue.
    """

    offers: Sequence[str] | None = None
    share: float = 0.1
    margin: float = 0.3
    cost: float = 0.1
    not_products: Sequence[str] | None = None
    ignore_consent: bool = False

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
            raise ConfigurationError(
                f"an overlap needs two offers and the scores hold {len(scores.offer)}; score more offers"
            )
        context.require_revenue()
        context = context.with_settings(self.ignore_consent, self.not_products)
        allowed = context.reachable(None)
        if not allowed.any():
            raise InfeasibleError(f"none of {allowed.size} customers may be contacted; score customers who consented")
        money = scores.revenue[allowed].astype(np.float64)
        size = max(1, round(self.share * money.shape[0]))
        member = audiences(money, scores.customer[allowed], size)
        common = member.T.astype(np.float32) @ member / size
        correlation = rank_correlation(money)
        tree = linkage(common)
        strong = context.best_sellers(len(scores.offer))
        first, second = self.selected(context, common, strong)
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
        selected = table.filter(pl.col("offer_a").is_in(names) & pl.col("offer_b").is_in(names)).to_dicts()[0]
        groups = pl.DataFrame({"offer_id": list(scores.offer), "group": tree.group + 1}).sort("group", "offer_id")
        largest = (
            groups.group_by("group").agg(pl.len(), pl.col("offer_id")).sort("len", "group", descending=[True, False])
        )
        summary = {
            "decision": "overlap",
            "cutoff": scores.cutoff,
            "consent": context.gate.summary(),
            "audience": size,
            "selected": selected,
            "groups": groups["group"].n_unique(),
        }
        stopped, words = context.stop_summary(self.offers)
        summary |= stopped
        sentences = [
            f"audiences of {size:,} of {context.gate.contactable()}",
            self.words(selected, size),
            f"{len(scores.offer)} offers form {summary['groups']} groups with a mean overlap of {GROUPED:.0%} or more; "
            f"the largest holds {', '.join(largest['offer_id'][0].to_list()[:6])}",
            *words,
            *context.gate.sentences(),
        ]
        preview = table.select("offer_a", "offer_b", "common", "rank_correlation", "advice")
        draw = picture(common[np.ix_(tree.order, tree.order)], money, member, first, second, scores.offer)
        return DecisionResult("overlap", table, sentences, preview, summary, draw, {"groups": groups})

    def selected(self, context: DecisionContext, common: np.ndarray, strong: np.ndarray) -> tuple[int, int]:
        """Indices of the two offers that the sentences are about."""
        if self.offers is not None:
            return context.offer(self.offers[0]), context.offer(self.offers[1])
        if strong.size < 2:
            raise InfeasibleError(
                f"{strong.size} of {len(context.scores.offer)} offers is a product by its name and an overlap needs "
                "two; give decision.offers, or set decision.not_products=[]"
            )
        top = strong[:10]
        pairs = common[np.ix_(top, top)] - 2 * np.eye(top.size)
        a, b = divmod(int(pairs.argmax()), top.size)
        return int(top[a]), int(top[b])

    def pairs(
        self, money: np.ndarray, member: np.ndarray, strong: np.ndarray, selected: tuple[int, int], size: int
    ) -> JointCampaigns:
        """One campaign against two, for all pairs or for those of the best-selling offers."""
        room = int(np.sqrt(2 * WORK / money.shape[0]))
        offers = np.unique(np.append(strong[: max(room, 20)], selected))
        pair = [(int(a), int(b)) for k, a in enumerate(offers) for b in offers[k + 1 :]]
        own = (money * member).sum(axis=0)
        one = np.array([joint(money[:, a] + money[:, b], size) for a, b in pair])
        two = np.array([own[a] + own[b] for a, b in pair])
        return JointCampaigns(pair, one, two)

    def words(self, row: dict[str, Any], size: int) -> str:
        """The comparison of a pair as a sentence."""
        retained = row["revenue_of_one"] / row["revenue_of_two"] if row["revenue_of_two"] > 0 else 1.0
        return (
            f"{row['offer_a']} and {row['offer_b']}: overlap {row['common']:.0%} of the top {size:,} customers, "
            f"rank correlation {row['rank_correlation']:.2f}. One campaign about both retains {retained:.0%} of the "
            f"revenue of two with half the messages: expected profit {row['profit_of_one']:,.2f} against "
            f"{row['profit_of_two']:,.2f}. Send {row['advice']}"
        )


class JointCampaigns(NamedTuple):
    """Offers by number; expected revenue of one joint campaign and of two, each (pairs,)."""

    pair: list[tuple[int, int]]
    one: np.ndarray
    two: np.ndarray


def audiences(money: np.ndarray, customer: np.ndarray, size: int) -> np.ndarray:
    """(N, M) bool: the `size` customers with the highest value of each offer; ties by `tie_break`."""
    member = np.zeros(money.shape, bool)
    for m in range(money.shape[1]):
        member[best_first(money[:, m], customer)[:size], m] = True
    return member


def joint(value: np.ndarray, size: int) -> float:
    """The sum of the largest `size` values."""
    return float(np.partition(value, value.size - size)[value.size - size :].sum())


def rank_correlation(money: np.ndarray) -> np.ndarray:
    """(M, M) Spearman's correlation over customers; equal values share a rank; a constant column has 0."""
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
    """order (M,) of the leaves, similar ones side by side; group (M,) numbered from 0 in that order."""

    order: np.ndarray
    group: np.ndarray


def linkage(similarity: np.ndarray) -> Tree:
    """Average linkage: joins the two groups with the highest mean similarity, repeatedly (Sokal and Michener, 1958).

    Parameters
    ----------
    similarity : np.ndarray
        (M, M), symmetric.

    Returns
    -------
    Tree
        Groups are cut where the mean similarity falls below `GROUPED`.
    """
    m = similarity.shape[0]
    near = similarity.astype(np.float64).copy()
    np.fill_diagonal(near, -np.inf)
    leaves = [[k] for k in range(m)]
    cut: list[list[int]] | None = None
    for _ in range(m - 1):
        a, b = divmod(int(near.argmax()), m)
        if cut is None and near[a, b] < GROUPED:
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
        left.set(title="Overlap of audiences, similar offers together", xlabel="offers", ylabel="offers")
        figure.colorbar(image, ax=left, shrink=0.7, label="share of the audience")
        both = member[:, first] & member[:, second]
        for mask, colour, mark, name in (
            (~(member[:, first] | member[:, second]), "#b8bcc4", ".", "in neither audience"),
            (member[:, first] ^ member[:, second], BLUE, "o", "in one"),
            (both, ORANGE, "D", "in both"),
        ):
            right.plot(money[mask, first], money[mask, second], mark, color=colour, ms=3, alpha=0.6, label=name)
        right.set(
            xlabel=short(offer[first], 40), ylabel=short(offer[second], 40), title="Expected revenue per customer"
        )
        right.set_xscale("symlog", linthresh=1.0)
        right.set_yscale("symlog", linthresh=1.0)
        right.legend(frameon=True, edgecolor="none", loc="lower right", markerscale=2)

    return draw
