"""Reasons add up to the score, and name what carried it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from propensity.data.event_log import to_date
from propensity.errors import ConfigurationError
from propensity.kernel.event import Events
from propensity.serving.batch import Stream, score_bundle
from propensity.serving.bundle import open_bundle
from propensity.serving.online import OnlineScorer, ScoringRequest, joined
from propensity.serving.point_in_time import nobody
from propensity.serving.reason import EARLIER, EVENTS, reasons
from propensity.serving.schema import RawEvent, ScoreRequest
from serving.exported import Exported


@pytest.fixture(scope="module")
def desk(exported: Exported) -> OnlineScorer:
    return OnlineScorer(open_bundle(exported.bundle))


def bought(desk: OnlineScorer, days: list[int], place: int = 0) -> list[RawEvent]:
    """Purchases of an item of an offer, so many days before the tables' date."""
    offers = desk.market.offers
    item = int(np.flatnonzero(np.diff(offers.item_offsets) > 0)[place])
    name, first = str(desk.market.tables["item"][item]), desk.market.market_stats.cutoff.day
    return [RawEvent(day=to_date(first - back), item=name, revenue=3.0) for back in days]


@pytest.mark.parametrize("days", [[], [3], [2, 9, 16, 23], list(range(1, 60))])
def test_base_and_contributions_add_up_to_the_probability(desk: OnlineScorer, days: list[int]) -> None:
    request = ScoreRequest(events=bought(desk, days), reasons=5)
    (answer,) = desk.answers([desk.check(request)])
    told = answer.explained
    assert told is not None
    best = max(answer.scores, key=lambda each: each.probability)
    assert told.offer == best.offer
    total = told.base + told.rest + sum(each.contribution for each in told.reasons)
    assert total == pytest.approx(best.probability, abs=2e-6)
    assert len(told.reasons) <= 5


def test_nobody_has_no_reasons_but_the_base(desk: OnlineScorer) -> None:
    (answer,) = desk.answers([desk.check(ScoreRequest(events=[], reasons=5))])
    assert answer.explained is not None
    assert answer.explained.reasons == [] and answer.explained.rest == 0


def test_every_event_is_told_apart_up_to_a_number(desk: OnlineScorer) -> None:
    asked = desk.check(ScoreRequest(events=bought(desk, list(range(1, EVENTS - 8)))))
    inputs, words = desk.market.seen(_events(asked), asked.day), desk.label(asked)
    found = reasons(
        desk.session, inputs, nobody(desk.market, desk.market.market_stats), 0, 0, desk.market.config, words
    )
    assert sum(" on " in name for name in found.share) == EVENTS - 9
    assert EARLIER not in found.share
    assert any(name.endswith("with the offer") for name in found.share)
    assert any(name.endswith("overall") for name in found.share)


def test_the_largest_come_first(desk: OnlineScorer) -> None:
    asked = desk.check(ScoreRequest(events=bought(desk, [2, 9, 16])))
    inputs, words = desk.market.seen(_events(asked), asked.day), desk.label(asked)
    found = reasons(
        desk.session, inputs, nobody(desk.market, desk.market.market_stats), 0, 0, desk.market.config, words
    )
    sizes = [abs(value) for _, value in found.largest(100)]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) == len(found.share)


def test_reasons_in_files_add_up_too(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="reasons of every pair would take years; give top or"):
        Stream(reasons=3)
    how = Stream(top=2, reasons=200)
    score_bundle(exported.bundle, str(exported.log), exported.cutoff, tmp_path / "out", how, lambda text: None)
    table = pl.concat([pl.read_parquet(path) for path in (tmp_path / "out").glob("part-*.parquet")])
    total = table["base"] + table["reasons"].list.eval(pl.element().struct.field("contribution")).list.sum()
    np.testing.assert_allclose(total, table["score"], atol=2e-6)
    words = table["reasons"].list.explode().struct.field("about")
    assert words.str.contains("purchase of .* on 20").any() and "everything else" in words


def _events(asked: ScoringRequest) -> Events:
    return joined([asked.events])
