"""Reasons add up to the score, and name what carried it."""

from __future__ import annotations

import numpy as np
import pytest

from propensity.data.event_log import to_date
from propensity.serving.bundle import open_bundle
from propensity.serving.desk import Desk
from propensity.serving.reason import EARLIER, EVENTS, reasons
from propensity.serving.schema import RawEvent, ScoreRequest
from serving.exported import Exported


@pytest.fixture(scope="module")
def desk(exported: Exported) -> Desk:
    return Desk(open_bundle(exported.bundle))


def bought(desk: Desk, days: list[int], place: int = 0) -> list[RawEvent]:
    """Purchases of an item of an offer, so many days before the tables' date."""
    offers = desk.market.offers
    item = int(np.flatnonzero(np.diff(offers.item_offsets) > 0)[place])
    name, first = str(desk.market.tables["item"][item]), desk.market.snapshot.cutoff.day
    return [RawEvent(day=to_date(first - back), item=name, revenue=3.0) for back in days]


@pytest.mark.parametrize("days", [[], [3], [2, 9, 16, 23], list(range(1, 60))])
def test_base_and_contributions_add_up_to_the_probability(desk: Desk, days: list[int]) -> None:
    request = ScoreRequest(events=bought(desk, days), reasons=5)
    (answer,) = desk.answers([desk.check(request)])
    told = answer.explained
    assert told is not None
    best = max(answer.scores, key=lambda each: each.probability)
    assert told.offer == best.offer
    total = told.base + told.rest + sum(each.contribution for each in told.reasons)
    assert total == pytest.approx(best.probability, abs=2e-6)
    assert len(told.reasons) <= 5


def test_nobody_has_no_reasons_but_the_base(desk: Desk) -> None:
    (answer,) = desk.answers([desk.check(ScoreRequest(events=[], reasons=5))])
    assert answer.explained is not None
    assert answer.explained.reasons == [] and answer.explained.rest == 0


def test_every_event_is_told_apart_up_to_a_number(desk: Desk) -> None:
    asked = desk.check(ScoreRequest(events=bought(desk, list(range(1, EVENTS - 8)))))
    inputs = desk.market.seen(_events(asked), asked.day)
    found = reasons(desk.session, inputs, 0, 0, desk.market, desk.label(asked))
    assert sum(" on " in name for name in found.share) == EVENTS - 9
    assert EARLIER not in found.share
    assert any(name.endswith("with the offer") for name in found.share)
    assert any(name.endswith("overall") for name in found.share)


def test_the_largest_come_first(desk: Desk) -> None:
    asked = desk.check(ScoreRequest(events=bought(desk, [2, 9, 16])))
    found = reasons(desk.session, desk.market.seen(_events(asked), asked.day), 0, 0, desk.market, desk.label(asked))
    sizes = [abs(value) for _, value in found.largest(100)]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) == len(found.share)


def _events(asked):  # type: ignore[no-untyped-def]
    from propensity.serving.desk import joined

    return joined([asked.events])
