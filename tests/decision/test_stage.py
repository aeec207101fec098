"""Stages: customers without a purchase and with one order, as of the cutoff, and with consent as everywhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from propensity.data.offer.column import ColumnOffers
from propensity.decision.audience import Audience
from propensity.decision.context import DecisionContext
from propensity.decision.history import PurchaseHistory
from propensity.errors import ConfigurationError, InfeasibleError
from propensity.kernel.event import PURCHASE
from propensity.scores import Scores
from random_log import random_log

OFFERS = ("category 0", "category 1")


def context(day_from_start: int = 40) -> DecisionContext:
    """Scores of every customer of a random log, most of whom have few or no orders yet."""
    log = random_log(2, customers=60)
    day = int(log.first_day) + day_from_start
    money = np.random.default_rng(1).gamma(1.0, 2.0, (len(log), len(OFFERS))).astype(np.float32)
    scores = Scores(log.customer_id, OFFERS, np.clip(money / 9, 0, 1), money, "2023-02-11", "test")
    return DecisionContext(scores, history=PurchaseHistory(log, ColumnOffers("category", min_buyers=1), day))


def orders(known: DecisionContext) -> np.ndarray:
    """Orders of each customer before the cutoff, counted one by one."""
    history = known.history
    assert history is not None
    log = history.log
    count = []
    for row in range(len(log)):
        own = slice(log.offsets[row], log.offsets[row + 1])
        count.append(np.unique(log.order[own][(log.kind[own] == PURCHASE) & (log.day[own] < history.day)]).size)
    return np.array(count)


@pytest.mark.parametrize(("stage", "number"), [("onboarding", 0), ("second_purchase", 1)])
def test_an_audience_of_a_stage_holds_the_customers_with_that_many_orders(stage: str, number: int) -> None:
    known = context()
    result = Audience(stage=stage, share=1.0)(known)
    expected = known.scores.customer[orders(known) == number]
    assert sorted(result.table["customer_id"]) == sorted(expected.tolist()) and expected.size > 2
    of_stage = known.scores.revenue[orders(known) == number].sum(axis=0)
    assert result.summary["stage"] == stage and result.summary["offer"] == OFFERS[int(of_stage.argmax())]
    assert sum(result.summary["excluded"].values()) == len(orders(known)) - expected.size


def test_a_stage_needs_consent_as_every_audience_does() -> None:
    known = context()
    first = known.scores.customer[orders(known) == 0][0]
    words = pl.DataFrame({"customer_id": known.scores.customer, "suppressed": known.scores.customer != first})
    result = Audience(stage="onboarding", share=1.0)(replace(known, customers=words))
    assert result.table["customer_id"].to_list() == [first]


def test_a_stage_that_nobody_is_in_or_that_does_not_exist_is_a_sentence() -> None:
    with pytest.raises(InfeasibleError, match=r"60 not in the stage onboarding \(no purchase yet\)"):
        Audience(stage="onboarding")(context(day_from_start=10_000).changed(scores=only_buyers()))
    with pytest.raises(ConfigurationError, match="decision.stage=first is no stage; give one of onboarding, second"):
        Audience(stage="first")
    with pytest.raises(ConfigurationError, match="decision.stage=onboarding needs the event log"):
        Audience(stage="onboarding")(DecisionContext(context().scores))


def only_buyers() -> Scores:
    """Scores of the customers who bought something in the end, repeated so that there are 60 rows."""
    known = context(day_from_start=10_000)
    rows = np.flatnonzero(orders(known) > 0)
    return replace(known.scores, customer=np.resize(known.scores.customer[rows], 60))
