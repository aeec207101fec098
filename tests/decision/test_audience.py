"""The audience: the best customers under every rule of size; an impossible request is one sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.decision.audience import Audience, buyers_of, revenue_of
from propensity.decision.context import DecisionContext, tie_break
from propensity.errors import ConfigurationError, InfeasibleError
from propensity.scores import Scores

CHANCE = np.array([[0.9, 0.1], [0.5, 0.2], [0.5, 0.9], [0.1, 0.5], [0.0, 0.3]], np.float32)
PAID = np.array([[10.0, 5.0], [30.0, 5.0], [30.0, 5.0], [20.0, 5.0], [8.0, 5.0]], np.float32)


def context(**changes: Any) -> DecisionContext:
    customers = pl.DataFrame(
        {
            "customer_id": ["1", "2", "3", "4", "5"],
            "region": ["north", "south", "south", "north", None],
            "suppressed": [False, False, False, None, True],
            "consent_email": [True, False, True, None, True],
            "consent_post": [True] * 5,
        }
    )
    scores = Scores(np.arange(1, 6), ("tea", "jam"), CHANCE, CHANCE * PAID, "2024-03-04", "test")
    return replace(DecisionContext(scores, customers=customers), **changes)


def chosen(audience: Audience, **changes: Any) -> list[int]:
    return audience(context(**changes)).table["customer_id"].to_list()


def test_the_audience_is_the_best_and_ties_are_broken_by_a_hash_of_the_id() -> None:
    tied = sorted([2, 3], key=lambda c: tie_break(np.array([c]))[0])
    assert chosen(Audience(offer="tea", size=3)) == [*tied, 1]
    assert chosen(Audience(offer="tea", by="probability", size=3)) == [1, *tied]
    assert chosen(Audience(offer="tea", size=3)) == chosen(Audience(offer="tea", by="margin", size=3))


def test_the_tie_break_depends_on_the_id_alone() -> None:
    mixed = np.array([3, 1, 2])
    np.testing.assert_array_equal(tie_break(mixed), tie_break(np.arange(1, 4))[mixed - 1])
    np.testing.assert_array_equal(tie_break(mixed), tie_break(mixed.astype(str)))


def test_without_an_offer_it_is_the_one_of_the_highest_expected_revenue() -> None:
    assert Audience(size=1)(context()).summary["offer"] == "tea"


def test_each_rule_says_how_many() -> None:
    assert len(chosen(Audience(offer="jam", share=0.5))) == 2
    assert chosen(Audience(offer="jam", minimum=2.5)) == [3, 4]
    assert len(chosen(Audience(offer="jam"))) == 1  # the best tenth, and at least one
    # margins .1 x (9, 15, 15, 2) of those who may be written to: at a cost of .8 the fourth loses money
    assert sorted(chosen(Audience(offer="tea", margin=0.1, cost=0.8))) == [1, 2, 3]


def test_the_profit_of_its_size_is_the_highest_of_all_sizes() -> None:
    sizes = [Audience(offer="tea", margin=0.1, cost=0.8, size=k)(context()).summary["profit"] for k in range(1, 5)]
    assert Audience(offer="tea", margin=0.1, cost=0.8)(context()).summary["profit"] == max(sizes)


def test_excluded_customers_are_in_no_audience() -> None:
    assert sorted(chosen(Audience(offer="tea", share=1.0))) == [1, 2, 3, 4]
    assert sorted(chosen(Audience(offer="tea", share=1.0, channel="email"))) == [1, 3]
    assert chosen(Audience(offer="tea", share=1.0, where="region = 'south'", channel="email")) == [3]


def test_expected_buyers_and_revenue_are_sums() -> None:
    summary = Audience(offer="jam", share=1.0)(context()).summary
    assert summary["buyers"]["value"] == pytest.approx(0.1 + 0.2 + 0.9 + 0.5)
    assert summary["revenue"]["value"] == pytest.approx(5 * 1.7)
    assert summary["excluded"] == {"suppressed": 1}


def test_ninety_five_of_a_hundred_outcomes_lie_in_the_interval() -> None:
    random = np.random.default_rng(0)
    chance = random.beta(1, 4, 400)
    buyers = buyers_of(chance)
    drawn = (random.random((4000, 400)) < chance).sum(axis=1)
    assert np.mean((drawn >= buyers.low) & (drawn <= buyers.high)) == pytest.approx(0.95, abs=0.015)
    paid = random.gamma(2.0, 1.0, 400)
    money = revenue_of(chance, chance * paid, 0.5)
    spent = ((random.random((4000, 400)) < chance) * paid * random.gamma(4.0, 0.25, (4000, 400))).sum(axis=1)
    assert np.mean((spent >= money.low) & (spent <= money.high)) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 0}, "an audience of 0 is nobody; give decision.size=1 or more"),
        ({"size": -3}, "an audience of -3 is nobody"),
        ({"size": 2, "share": 0.1}, "decision.size and decision.share both set the size; give one of them"),
        ({"share": 1.5}, "decision.share=1.5 is no share"),
        ({"by": "luck"}, "decision.by=luck is no value; give one of revenue, probability, margin"),
        ({"cost": -1.0}, "decision.cost=-1.0 is below 0"),
        ({"size": 9}, "decision.size=9 is more than the 5 customers of the scores; give 5 or less"),
        ({"offer": "tee"}, "offer 'tee' is not among the 2 scored; did you mean 'tea'?"),
        ({"channel": "fax"}, "customers have no column consent_fax"),
        ({"recent": 7}, "decision.recent needs the event log"),
        ({"where": "age > 3"}, r"the filter \(age > 3\) cannot be applied"),
    ],
)
def test_a_bad_request_is_one_sentence(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Audience(**settings)(context())


def test_too_few_eligible_customers_are_refused_with_the_reasons() -> None:
    with pytest.raises(InfeasibleError, match=r"4 of 5 customers .* and 5 are requested \(excluded: 1 suppressed\)"):
        Audience(size=5)(context())
    nobody = context().customers.with_columns(suppressed=pl.lit(True))  # type: ignore[union-attr]
    with pytest.raises(
        InfeasibleError, match=r"0 of 5 customers may be contacted and some are requested \(excluded: 5 suppressed"
    ):
        Audience()(context(customers=nobody))
    with pytest.raises(
        InfeasibleError, match="no customer pays for a message about jam: .* is 4.5; lower decision.minimum=99"
    ):
        Audience(offer="jam", minimum=99.0)(context())
