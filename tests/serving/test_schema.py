"""Bodies of responses that are written from plain values are those of the models that describe them."""

from __future__ import annotations

import datetime

import pytest

from propensity.serving.schema import (
    CustomerScores,
    Explanation,
    ManyResponse,
    OfferScore,
    Reason,
    Scored,
    ScoreResponse,
    body_of,
    offer_scores,
)

REASON = Reason(feature="How often", contribution=-0.1, sentence='Bought "milk" twice.')
EXPLANATION = Explanation(offer_id="Brötchen", base_value=-3.0, score=-2.5, reasons=[REASON], other=0.6)
NUMBERS = [0.0, 1e-7, 0.1, 1 / 3, 1e22, 5e-324, float("nan")]


@pytest.mark.parametrize("explanation", [None, EXPLANATION])
def test_a_body_is_that_of_the_model(explanation: Explanation | None) -> None:
    names = [f'offer "{k}" \u2013 ä' for k in range(len(NUMBERS))]
    scored = Scored(datetime.date(2024, 2, 29), offer_scores(names, NUMBERS, NUMBERS[::-1]), explanation)
    table = [
        OfferScore(offer_id=name, probability=p, expected_revenue=r)
        for name, p, r in zip(names, NUMBERS, NUMBERS[::-1], strict=True)
    ]
    model = ScoreResponse(cutoff=scored.cutoff, scores=table, explanation=explanation)
    assert body_of(scored._asdict()).decode() == model.model_dump_json()
    none = dict.fromkeys(CustomerScores.model_fields)
    rows = [{**none, "scores": scored.scores, "explanation": explanation}, {**none, "error": "no such id"}]
    many = ManyResponse(
        customers=[CustomerScores(scores=table, explanation=explanation), CustomerScores(error="no such id")]
    )
    assert body_of({"customers": rows}).decode() == many.model_dump_json()


def test_scores_of_offers_need_one_number_each() -> None:
    with pytest.raises(ValueError, match="shorter"):
        offer_scores(["a", "b"], [0.1], [0.2])
