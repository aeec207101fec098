"""Reasons add up to the score, and name columns and events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from propensity.data.event_log import to_date
from propensity.errors import ConfigurationError
from propensity.kernel.event import Events
from propensity.serving.batch import BatchConfig, score_bundle
from propensity.serving.bundle import open_bundle
from propensity.serving.online import OnlineScorer, ScoringRequest, concatenate_events
from propensity.serving.point_in_time import empty_customer
from propensity.serving.reason import EARLIER, RECENT_EVENTS, explain
from propensity.serving.schema import RawEvent, ScoreRequest
from serving.exported import Exported


@pytest.fixture(scope="module")
def scorer(exported: Exported) -> OnlineScorer:
    return OnlineScorer(open_bundle(exported.bundle))


def purchases(scorer: OnlineScorer, days: list[int], place: int = 0) -> list[RawEvent]:
    """Purchases of an item of an offer, on days counted back from the cutoff of the tables."""
    offers = scorer.features.offers
    item = int(np.flatnonzero(np.diff(offers.item_offsets) > 0)[place])
    name, first = str(scorer.features.tables["item"][item]), scorer.features.market_stats.cutoff.day
    return [RawEvent(day=to_date(first - back), item=name, revenue=3.0) for back in days]


@pytest.mark.parametrize("days", [[], [3], [2, 9, 16, 23], list(range(1, 60))])
def test_base_and_contributions_add_up_to_the_probability(scorer: OnlineScorer, days: list[int]) -> None:
    request = ScoreRequest(events=purchases(scorer, days), reasons=5)
    (response,) = scorer.score([scorer.validate(request)])
    explanation = response.explanation
    assert explanation is not None
    best = max(response.scores, key=lambda each: each.probability)
    assert explanation.offer_id == best.offer_id
    total = explanation.base_value + explanation.other + sum(each.contribution for each in explanation.reasons)
    assert total == pytest.approx(best.probability, abs=2e-6)
    assert len(explanation.reasons) <= 5


def test_an_empty_history_has_no_reasons(scorer: OnlineScorer) -> None:
    (response,) = scorer.score([scorer.validate(ScoreRequest(events=[], reasons=5))])
    assert response.explanation is not None
    assert response.explanation.reasons == [] and response.explanation.other == 0


def test_recent_events_are_features_of_their_own(scorer: OnlineScorer) -> None:
    request = scorer.validate(ScoreRequest(events=purchases(scorer, list(range(1, RECENT_EVENTS - 8)))))
    inputs, names = scorer.features.from_events(_events(request), request.day), scorer.event_labels(request)
    empty = empty_customer(scorer.features, scorer.features.market_stats)
    reasons = explain(scorer.session, inputs, empty, 0, 0, scorer.features.config, names)
    assert sum(" on " in name for name in reasons.contribution) == RECENT_EVENTS - 9
    assert EARLIER not in reasons.contribution
    assert any(name.endswith("with the offer") for name in reasons.contribution)
    assert any(name.endswith("overall") for name in reasons.contribution)


def test_reasons_are_sorted_by_absolute_contribution(scorer: OnlineScorer) -> None:
    request = scorer.validate(ScoreRequest(events=purchases(scorer, [2, 9, 16])))
    inputs, names = scorer.features.from_events(_events(request), request.day), scorer.event_labels(request)
    empty = empty_customer(scorer.features, scorer.features.market_stats)
    reasons = explain(scorer.session, inputs, empty, 0, 0, scorer.features.config, names)
    sizes = [abs(value) for _, value in reasons.largest(100)]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) == len(reasons.contribution)


def test_reasons_in_files_add_up_to_the_score(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="reasons for all pairs take too long; add top or"):
        BatchConfig(reasons=3)
    config = BatchConfig(top=2, reasons=200)
    score_bundle(exported.bundle, str(exported.log), exported.cutoff, tmp_path / "out", config, lambda text: None)
    table = pl.concat([pl.read_parquet(path) for path in (tmp_path / "out").glob("part-*.parquet")])
    total = table["base_value"] + table["reasons"].list.eval(pl.element().struct.field("contribution")).list.sum()
    np.testing.assert_allclose(total, table["score"], atol=2e-6)
    features = table["reasons"].list.explode().struct.field("feature")
    assert features.str.contains("purchase of .* on 20").any() and "everything else" in features


def _events(request: ScoringRequest) -> Events:
    return concatenate_events([request.events])
