"""Opportunities: demand, concentration and trend by hand; niche offers are named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.decision.context import DecisionContext
from propensity.decision.opportunity import Opportunity
from propensity.errors import ConfigurationError, InfeasibleError
from propensity.scores import Scores

OFFERS = ("bread", "caviar", "dust", "milk")


def context(**changes: Any) -> DecisionContext:
    """Twenty customers: everybody wants bread and milk, one of them caviar, nobody dust."""
    money = np.zeros((20, 4), np.float32)
    money[:, 0], money[:, 3], money[7, 1] = 5.0, 4.0, 60.0
    scores = Scores(np.arange(20), OFFERS, np.minimum(money / 60, 1), money, "2024-03-04", "test")
    customers = pl.DataFrame({"customer_id": [str(n) for n in range(20)], "region": ["north"] * 7 + ["south"] * 13})
    return replace(DecisionContext(scores, customers=customers), **changes)


def test_demand_and_concentration_are_sums_and_shares() -> None:
    result = Opportunity(best_sellers=2)(context())
    offers = {row["offer_id"]: row for row in result.table.to_dicts()}
    assert offers["bread"]["demand"] == 100.0 and offers["bread"]["concentration"] == pytest.approx(5 / 100)
    assert offers["caviar"]["concentration"] == 1.0 and offers["caviar"]["group_each"] == 60.0
    assert offers["dust"]["concentration"] is None
    assert result.summary["niche"] == ["caviar"], "third by demand, all of it in one of twenty customers"


def test_the_trend_is_against_the_scores_before_where_there_is_no_log() -> None:
    known = context()
    half = replace(known.scores, revenue=known.scores.revenue / 2, cutoff="2024-02-05")
    result = Opportunity()(replace(known, earlier=(half,)))
    assert {row["offer_id"]: row["trend"] for row in result.table.to_dicts()} == {
        "bread": 1.0, "caviar": 1.0, "dust": None, "milk": 1.0,
    }  # fmt: skip
    assert Opportunity()(known).table["trend"].null_count() == 4


def test_groups_are_compared_with_everybody() -> None:
    heat = Opportunity(groups={"south": "region = 'south'"})(context()).extra_tables["heat"]
    index = {row["category"]: row["index"] for row in heat.to_dicts()}
    assert heat["group"].unique().to_list() == ["south"] and index["bread"] == pytest.approx(1.0)
    assert index["caviar"] == pytest.approx((60 / 13) / (60 / 20))


def test_the_page_needs_no_network_and_escapes_names() -> None:
    known = context()
    page = Opportunity()(replace(known, scores=replace(known.scores, offer=("<b>", "caviar", "dust", "milk")))).page
    assert page is not None and "&lt;b&gt;" in page and "http" not in page


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"share": 1.0}, "decision.share=1.0 is no share"),
        ({"best_sellers": 0}, "decision.best_sellers=0 shows nothing"),
        ({"category": "department"}, "decision.category needs the event log"),
        ({"groups": {"x": "region ="}}, r"decision.groups.x \(region =\) cannot be applied"),
        ({"groups": {"x": "colour > 2"}}, r"decision.groups.x \(colour > 2\) cannot be applied: unable to find column"),
    ],
)
def test_a_bad_request_is_one_sentence(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Opportunity(**settings)(context())


def test_scores_without_revenue_are_refused() -> None:
    known = context()
    empty = replace(known.scores, revenue=np.zeros_like(known.scores.revenue))
    with pytest.raises(
        InfeasibleError, match="the scores at 2024-03-04 expect no revenue of any offer, so a contact has no value"
    ):
        Opportunity()(replace(known, scores=empty))
