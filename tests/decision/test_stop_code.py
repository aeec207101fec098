"""Offers that are no products: none is a campaign by default, and the result counts and names them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from decision.known import context_with_history
from propensity.decision.audience import Audience
from propensity.decision.campaign import CampaignPlan
from propensity.decision.channel import Channel
from propensity.decision.context import DecisionContext
from propensity.decision.next_best import NextBest
from propensity.decision.overlap import Overlap
from propensity.decision.stop_code import stop_codes
from propensity.errors import InfeasibleError
from propensity.scores import Scores

OFFERS = ("FUEL", "Bread", "COUPON/MISC ITEMS", "Coffee", "Pfand")  # by descending revenue
STOPPED = {"FUEL", "COUPON/MISC ITEMS", "Pfand"}


def context(offers: tuple[str, ...] = OFFERS) -> DecisionContext:
    chance = np.random.default_rng(3).beta(2, 3, (60, len(offers))).astype(np.float32)
    money = chance * np.linspace(50, 10, len(offers), dtype=np.float32)
    return DecisionContext(Scores(np.arange(60), offers, chance, money, "2024-03-04", "test"))


@pytest.mark.parametrize("decision", [CampaignPlan, NextBest, Audience, Overlap])
def test_an_offer_that_is_no_product_is_in_no_decision_by_default(decision: Any) -> None:
    result = decision()(context())
    named = [c for c in ("offer_id",) if c in result.table.columns]
    chosen = set(result.table[named[0]].drop_nulls()) if named else set(result.summary["selected"].values())
    assert not chosen & STOPPED and chosen & {"Bread", "Coffee"}
    assert set(result.summary["not_products"]) == STOPPED
    assert any("3 of 5 offers are no products by their name (FUEL, COUPON" in each for each in result.sentences)


def test_an_empty_list_includes_them_and_a_list_names_others() -> None:
    assert Audience(not_products=[])(context()).summary["offer"] == "FUEL"
    assert Audience(not_products=["default", "bread"])(context()).summary["offer"] == "Coffee"
    assert CampaignPlan(count=5, not_products=[], cost=0.0)(context()).table["campaign"].n_unique() == 5


def test_a_named_campaign_about_one_is_planned_and_the_result_says_so() -> None:
    result = CampaignPlan(campaigns=[{"offer": "FUEL"}, {"offer": "Bread"}])(context())
    assert "FUEL" in set(result.table["offer_id"])
    assert any(each.startswith("FUEL: no product by its name") for each in result.sentences)


def test_scores_of_nothing_else_plan_nothing() -> None:
    for decision in (CampaignPlan(), Audience(), NextBest(), Overlap()):
        with pytest.raises(InfeasibleError, match=r"product by its name.*decision.not_products=\[\]"):
            decision(context(("FUEL", "Gutschein")))


@pytest.mark.parametrize(
    "name",
    ["Voucher", "gift card", "Gutschein", "Geschenkgutschein", "Pfand", "Chèque cadeau", "Consigne", "Cupón",
     "Buono sconto", "Statiegeld", "Kaucja", "Záloha", "Vale presente", "Hediye kartı", "Utalvány", "Benzin",
     "Carburant", "Gasolina", "Kraftstoff", "üzemanyag", "Fuel/Gasoline", "COUPONS - MFG"],
)  # fmt: skip
def test_a_coupon_a_voucher_a_deposit_or_fuel_is_known_in_the_languages_of_the_presets(name: str) -> None:
    assert stop_codes([name], None, None).tolist() == [True]


@pytest.mark.parametrize("name", ["Fuel filter", "Coupon album", "Gas grill", "Pregnancy test", "Deposit bag", "Bread"])
def test_a_product_named_after_one_is_a_product(name: str) -> None:
    assert stop_codes([name], None, None).tolist() == [False]


def test_the_descriptions_of_most_items_are_those_of_the_offer() -> None:
    known = context_with_history(1, customers=60, days=20)
    assert known.history is not None
    log, offers = known.history.log, known.history.offers
    text = np.full(log.items.height, "Apple juice", dtype=object)
    text[offers.item[offers.item_offer == 0]] = "Versandkosten DHL"
    described = replace(log, items=log.items.with_columns(description=pl.Series(text.tolist())))
    history = replace(known.history, log=described)
    assert stop_codes(offers.name, history, None).tolist() == [True] + [False] * (len(offers) - 1)
    assert not stop_codes(offers.name, known.history, None).any()


def test_a_channel_is_chosen_for_products_only() -> None:
    known = context_with_history(2, customers=80, days=20)
    scores = replace(known.scores, offer=("FUEL", "category 1"))
    result = Channel()(known.changed(scores=scores))
    assert set(result.table["offer_id"]) == {"category 1"}
    assert result.summary["not_products"] == ["FUEL"]
