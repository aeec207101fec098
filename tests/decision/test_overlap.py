"""Overlap: shares, correlations and joint campaigns on tables whose answer is written as arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from propensity.decision.context import DecisionContext
from propensity.decision.overlap import Overlap, linkage, rank_correlation
from propensity.errors import ConfigurationError
from propensity.scores import Scores

# tea and jam share one of their two best customers; salt is bought by the other end
MONEY = np.array([[9, 8, 0], [7, 1, 0], [2, 6, 1], [1, 2, 2], [0, 0, 7], [0, 0, 9]], np.float32)


def context(money: np.ndarray = MONEY, offers: tuple[str, ...] = ("tea", "jam", "salt")) -> DecisionContext:
    return DecisionContext(Scores(np.arange(money.shape[0]), offers, money / 10, money, "2024-03-04", "test"))


def row(**settings: Any) -> dict[str, Any]:
    selected: dict[str, Any] = Overlap(offers=["tea", "jam"], share=1 / 3, margin=0.5, **settings)(context()).summary[
        "selected"
    ]
    return selected


def test_what_two_audiences_have_in_common() -> None:
    selected = row(cost=0.0)
    assert {selected["offer_a"], selected["offer_b"]} == {"tea", "jam"}
    assert selected["common"] == pytest.approx(1 / 2)
    assert selected["revenue_of_two"] == pytest.approx((9 + 7) + (8 + 6))
    assert selected["revenue_of_one"] == pytest.approx((9 + 8) + (7 + 1)), "(2 + 6) ties, and is worth as much"
    assert selected["advice"] == "two campaigns" and row(cost=2.0)["advice"] == "one campaign"
    assert selected["profit_of_two"] == pytest.approx(15.0) and row(cost=2.0)["profit_of_one"] == pytest.approx(
        12.5 - 4.0
    )


def test_rank_correlation_is_spearmans() -> None:
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(0)
    money = np.round(random.gamma(1, 2, (80, 4)), 1)
    np.testing.assert_allclose(rank_correlation(money), stats.spearmanr(money).statistic, atol=1e-12)
    flat = rank_correlation(np.ones((5, 2)))
    assert flat[0, 1] == 0.0


def test_similar_offers_are_neighbours() -> None:
    similarity = np.full((6, 6), 0.1)
    for group in ((0, 3), (1, 4), (2, 5)):
        similarity[np.ix_(group, group)] = 0.8
    tree = linkage(similarity)
    place = {leaf: k for k, leaf in enumerate(tree.order.tolist())}
    assert all(abs(place[a] - place[b]) == 1 for a, b in ((0, 3), (1, 4), (2, 5)))
    assert len(set(tree.group.tolist())) == 3 and tree.group[0] == tree.group[3]
    assert sorted(tree.order.tolist()) == list(range(6))
    assert linkage(np.full((4, 4), 0.9)).group.tolist() == [0, 0, 0, 0]


def test_every_pair_is_in_the_table_and_ties_everywhere_are_no_trouble() -> None:
    assert Overlap()(context()).table.height == 3
    flat = Overlap(share=0.5)(context(np.ones_like(MONEY)))
    assert flat.table["common"].to_list() == [1.0, 1.0, 1.0], "ties are broken in the same way for every offer"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"offers": ["tea"]}, "must name two offers"),
        ({"offers": ["tea", "tea"]}, "must name two offers"),
        ({"offers": ["tea", "jan"]}, "offer 'jan' is not among the 3 scored; did you mean 'jam'?"),
        ({"share": 0.0}, "decision.share=0.0 is no share"),
        ({"cost": -1.0}, "decision.cost=-1.0 is below 0"),
    ],
)
def test_a_bad_request_is_one_sentence(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Overlap(**settings)(context())


def test_one_offer_overlaps_with_nothing() -> None:
    with pytest.raises(
        ConfigurationError, match="an overlap needs two offers and the scores hold 1; score more offers"
    ):
        Overlap()(context(MONEY[:, :1], ("tea",)))
