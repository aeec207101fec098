"""The report: every number has its definition, and what is undefined says why."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from propensity.errors import DataError
from propensity.kernel.reference_rank import auc_reference, capture_reference
from propensity.metric.calibration import calibration_error, log_loss
from propensity.metric.evaluation import Labels, Prediction, evaluate

RANKING = {
    "auc",
    "average_precision",
    "lift",
    "revenue_capture",
    "revenue_capture_oracle",
    "normalised_revenue_capture",
    "revenue_lift",
    "log_loss",
    "expected_over_observed",
    "expected_over_observed_revenue",
}

CAPPED = {"revenue_capture_winsorised", "revenue_lift_winsorised"}


def random_market(seed: int, cutoff: str = "2024-03-04", customers: int = 90, offers: int = 5):
    """Offer 0 has no buyer, offer 1 seven, and offer 2 is bought by everybody."""
    random = np.random.default_rng(seed)
    chance = random.beta(1.0, 3.0, (customers, offers))
    chance[:, 0], chance[:, 2] = chance[:, 0] / 10, 1 - chance[:, 2] / 10
    bought = random.random((customers, offers)) < chance
    bought[:, 0], bought[:, 1], bought[:, 2] = False, np.arange(customers) % 13 == 0, True
    revenue = np.where(bought, np.round(random.gamma(2.0, 4.0, chance.shape), 2), 0.0)
    inside = np.broadcast_to(random.random((customers, 1)) < 0.5, chance.shape)
    masks = {"all": np.ones_like(bought), "light": inside, "empty": np.zeros_like(bought)}
    names = np.array([f"offer {m}" for m in range(offers)])
    labels = Labels(cutoff, np.arange(customers) + seed, names, bought, revenue, masks)
    return labels, Prediction(np.round(chance, 2).astype(np.float32), np.round(5 * chance, 1))


def shuffled(labels, prediction, seed=0):
    mixed = np.random.default_rng(seed).permutation(labels.customer.size)
    masks = {name: mask[mixed] for name, mask in labels.slices.items()}
    moved = labels._replace(
        customer=labels.customer[mixed], bought=labels.bought[mixed], revenue=labels.revenue[mixed], slices=masks
    )
    return moved, Prediction(prediction.probability[mixed], prediction.revenue[mixed])


def numbers(report) -> np.ndarray:
    """All numbers of a report, in order."""
    if isinstance(report, dict):
        return np.concatenate([numbers(value) for value in report.values()] or [np.zeros(0)])
    if isinstance(report, list):
        return np.concatenate([numbers(value) for value in report] or [np.zeros(0)])
    return np.array([report] if isinstance(report, int | float) else [], dtype=float)


@pytest.fixture(scope="module")
def report():
    markets = [random_market(1, "2024-03-04"), random_market(2, "2024-04-01")]
    all_labels, ours = zip(*markets, strict=True)
    flat = [Prediction(np.full_like(each.probability, 0.25)) for each in ours]
    return evaluate(all_labels, {"ours": ours, "flat": flat}, reference="ours", resamples=60)


def test_a_report_is_json(report):
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert list(report) == [
        "verdict",
        "headline",
        "warnings",
        "fraction",
        "metrics",
        "models",
        "differences",
        "expected_over_observed",
        "counts",
        "curves",
        "calibration",
        "offers",
    ]
    assert list(report["models"]["ours"]) == ["mean", "2024-03-04", "2024-04-01"]
    assert set(report["models"]["ours"]["mean"]["light"]) == RANKING
    assert set(report["models"]["ours"]["mean"]["all"]) == RANKING | CAPPED | {"ece", "pooled_auc"}


def test_points_are_their_definitions_over_the_scored_offers():
    labels, ours = random_market(1)
    result = evaluate([labels], {"ours": [ours]}, reference="ours", resamples=0)["models"]["ours"]["mean"]
    for name, scored in {"all": (3, 4), "light": (1, 3, 4)}.items():  # offer 1 has seven buyers, five of them light
        inside, ones = labels.slices[name][:, 0], np.ones(int(labels.slices[name][:, 0].sum()))
        chance, value = ours.probability[inside], ours.revenue[inside]
        bought, spent = labels.bought[inside], labels.revenue[inside]
        auc = np.mean([auc_reference(chance[:, m], bought[:, m], ones) for m in scored])
        capture = np.mean([capture_reference(value[:, m], spent[:, m], ones, 0.1) for m in scored])
        oracle = np.mean([capture_reference(spent[:, m], spent[:, m], ones, 0.1) for m in scored])
        assert result[name]["auc"]["value"] == pytest.approx(auc, abs=1e-12)
        assert result[name]["normalised_revenue_capture"]["value"] == pytest.approx(capture / oracle, abs=1e-12)
        assert result[name]["revenue_lift"]["value"] == pytest.approx(capture / 0.1, abs=1e-12)
        assert result[name]["log_loss"]["value"] == pytest.approx(log_loss(chance, bought))
    assert result["all"]["ece"]["value"] == pytest.approx(calibration_error(ours.probability, labels.bought))


def test_the_mean_is_the_plain_mean_of_the_cutoffs(report):
    cells = report["models"]["ours"]
    both = [cells[cutoff]["all"]["average_precision"]["value"] for cutoff in ("2024-03-04", "2024-04-01")]
    assert cells["mean"]["all"]["average_precision"]["value"] == pytest.approx(sum(both) / 2)


def test_an_interval_contains_its_point(report):
    for slices in report["models"]["ours"].values():
        for cell in (cell for metrics in slices.values() for cell in metrics.values() if cell["low"] is not None):
            assert cell["low"] <= cell["value"] <= cell["high"]


def test_knowledge_beats_a_constant_and_less_loss_is_a_win(report):
    cells = report["differences"]["flat"]["mean"]["all"]
    assert cells["auc"]["verdict"] == cells["revenue_capture"]["verdict"] == "win"
    assert cells["log_loss"]["value"] < 0 and cells["log_loss"]["verdict"] == "win"
    same = {"value": 0.0, "low": 0.0, "high": 0.0, "minimum_detectable_effect": 0.0, "verdict": "tie"}
    assert cells["revenue_capture_oracle"] == same
    assert cells["pooled_auc"]["low"] is None and cells["pooled_auc"]["verdict"] is None


def test_constant_scores_are_a_random_ranking(report):
    cells = report["models"]["flat"]["mean"]["all"]
    assert cells["auc"]["value"] == 0.5 and cells["pooled_auc"]["value"] == 0.5
    assert cells["lift"]["value"] == pytest.approx(1.0) and cells["revenue_lift"]["value"] == pytest.approx(1.0)


def test_what_is_undefined_says_why(report):
    cell = report["models"]["ours"]["mean"]["empty"]["auc"]
    assert cell == {"value": None, "low": None, "high": None, "reason": "no pair lies in slice 'empty' at 2024-03-04"}
    assert report["models"]["ours"]["mean"]["empty"]["log_loss"]["value"] is None


def test_scores_that_are_no_probabilities_are_ranked_but_not_calibrated():
    labels, ours = random_market(1)
    doubled = Prediction(ours.probability * 4 - 1)
    result = evaluate([labels], {"ours": [ours], "raw": [doubled]}, reference="ours", resamples=5)
    raw, cells = result["models"]["raw"]["mean"]["all"], result["models"]["ours"]["mean"]["all"]
    assert raw["auc"] == cells["auc"]
    assert raw["ece"]["value"] is None and "calibrate them into [0, 1]" in raw["log_loss"]["reason"]
    difference = result["differences"]["raw"]["mean"]["all"]["log_loss"]
    assert difference["value"] is None and difference["verdict"] is None and "2024-03-04" in difference["reason"]
    assert result["calibration"]["raw"]["bins"] == []


def test_the_macro_curve_passes_through_the_capture(report):
    curves = report["curves"]
    assert curves["ours"]["macro"][10] == pytest.approx(
        report["models"]["ours"]["mean"]["all"]["revenue_capture"]["value"]
    )
    assert curves["flat"]["revenue"] == pytest.approx(curves["flat"]["share"], abs=1e-9)
    assert (np.array(curves["oracle"]["revenue"]) >= np.array(curves["ours"]["revenue"]) - 1e-12).all()


def test_counts_and_offers_add_up(report):
    counts, offers = report["counts"]["2024-03-04"], report["offers"]["2024-03-04"]
    assert counts["pairs"] == 450 and counts["slices"]["all"]["offers"] == 2
    assert sum(row["buyers"] for row in offers) == counts["positives"]
    assert sum(row["revenue"] for row in offers) == pytest.approx(counts["revenue"])
    assert offers[0]["auc"] is None and offers[1]["auc"] is not None and offers[2]["auc"] is None
    assert sum(row["pairs"] for row in report["calibration"]["ours"]["bins"]) == 900


def test_unusual_outcomes_and_predictions_give_a_warning(report):
    day = "2024-03-04"
    assert f"at {day} nobody bought 1 of 5 offers: they are not evaluated" in report["warnings"]
    assert f"at {day} everybody bought 1 of 5 offers: they are not evaluated" in report["warnings"]
    assert f"flat gives all customers the same score at {day}: its ranking is random" in report["warnings"]
    assert not any(sentence.startswith("ours") for sentence in report["warnings"])


def test_a_score_that_is_the_same_for_some_offers_gives_a_warning():
    labels, ours = random_market(8)
    half = Prediction(ours.probability * (np.arange(5) > 1))
    result = evaluate([labels], {"ours": [ours], "half": [half]}, reference="ours", resamples=0)
    assert "half gives all customers the same score for 2 of 5 offers at 2024-03-04: their ranking is" in str(
        result["warnings"]
    )


def test_a_window_without_revenue_has_purchases_but_no_lift():
    labels, ours = random_market(9)
    result = evaluate([labels._replace(revenue=labels.revenue * 0)], {"ours": [ours]}, reference="ours", resamples=5)
    cells = result["models"]["ours"]["mean"]["all"]
    assert "at 2024-03-04 purchases have no revenue: revenue lift and capture are undefined" in result["warnings"]
    assert cells["auc"]["value"] > 0.5 and cells["revenue_lift"]["value"] is None
    assert cells["revenue_lift"]["reason"] == "no revenue in the evaluated offers in slice 'all' at 2024-03-04"


def test_a_window_without_a_purchase_compares_no_models():
    labels, low = random_market(4)
    empty = labels._replace(bought=np.zeros_like(labels.bought), revenue=np.zeros_like(labels.revenue))
    high = Prediction(np.minimum(1.0, 2.0 * low.probability), low.revenue)
    result = evaluate([empty], {"a": [high], "b": [low]}, reference="a", resamples=20)
    cell = result["differences"]["b"]["mean"]["all"]["log_loss"]
    assert cell["value"] > 0.0 and cell["low"] is None and cell["verdict"] is None and "nobody bought" in cell["reason"]
    assert not any("is better than" in sentence for sentence in result["warnings"])


def test_missing_pairs_count_as_zero_and_are_reported():
    labels, ours = random_market(10)
    scored = np.random.default_rng(10).random(labels.bought.shape) < 0.8
    gaps = Prediction(np.where(scored, ours.probability, 0), np.where(scored, ours.revenue, 0), scored)
    result = evaluate([labels], {"ours": [ours], "gaps": [gaps]}, reference="ours", resamples=0)
    assert f"gaps has no score for {(~scored).sum()} of 450 pairs at 2024-03-04: they count as 0" in result["warnings"]
    light = result["counts"]["2024-03-04"]["slices"]["light"]
    assert light["coverage"]["gaps"] == pytest.approx(scored[labels.slices["light"]].mean())
    assert light["coverage"]["ours"] == 1.0
    assert result["counts"]["2024-03-04"]["slices"]["empty"]["coverage"] == {"ours": None, "gaps": None}


def test_the_order_of_customers_does_not_matter():
    labels, ours = random_market(3)
    moved, again = shuffled(labels, ours)
    before = evaluate([labels], {"ours": [ours]}, reference="ours", resamples=20)
    after = evaluate([moved], {"ours": [again]}, reference="ours", resamples=20)
    np.testing.assert_allclose(numbers(before), numbers(after), rtol=1e-9, atol=1e-12)


def test_the_same_model_ties_with_itself():
    labels, ours = random_market(4)
    result = evaluate([labels], {"a": [ours], "b": [ours]}, reference="a", resamples=10)["differences"]["b"]["mean"]
    cells = [cell for metrics in result.values() for cell in metrics.values() if cell["verdict"]]
    assert cells and all(cell["value"] == 0.0 and cell["verdict"] == "tie" for cell in cells)


def test_progress_hears_of_every_model_and_cutoff():
    labels, ours = random_market(5)
    heard: list[str] = []
    evaluate([labels], {"a": [ours], "b": [ours]}, reference="a", resamples=2, progress=heard.append)
    assert heard == ["evaluating a at 2024-03-04", "evaluating b at 2024-03-04"]


def broken(**changes):
    labels, ours = random_market(6)
    return labels._replace(**{k: v for k, v in changes.items() if k in Labels._fields}), ours


@pytest.mark.parametrize(
    ("labels", "result", "words"),
    [
        (broken()[0], [], "ours predicts 0 cutoffs of 1"),
        (broken()[0], [Prediction(np.zeros((90, 4)))], r"ours at 2024-03-04 has shape \(90, 4\); it must hold 90 c"),
        (broken()[0], [Prediction(np.full((90, 5), math.inf))], "holds 450 values that are not finite; fill them"),
        (broken()[0], [broken()[1]._replace(revenue=np.zeros((1, 5)))], "expected revenue of ours at 2024-03-04"),
        (broken(customer=np.arange(90) // 2)[0], [broken()[1]], "customer 0 appears twice in the labels at 2024-03-04"),
        (broken(slices={})[0], [broken()[1]], "add the slice 'all'"),
        (broken(revenue=np.full((90, 5), np.nan))[0], [broken()[1]], "revenue in the labels at 2024-03-04"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(labels, result, words):
    with pytest.raises(DataError, match=words):
        evaluate([labels], {"ours": result}, reference="ours", resamples=0)


def test_the_arguments_are_checked():
    labels, ours = random_market(7)
    with pytest.raises(DataError, match="no cutoff to evaluate"):
        evaluate([], {"ours": []}, reference="ours")
    with pytest.raises(DataError, match=r"the reference model 'best' has no predictions; choose one of \['ours'\]"):
        evaluate([labels], {"ours": [ours]}, reference="best")
    with pytest.raises(DataError, match="cutoff 2024-03-04 appears twice in the evaluation"):
        evaluate([labels, labels], {"ours": [ours, ours]}, reference="ours")
    with pytest.raises(DataError, match="fraction is 2.0"):
        evaluate([labels], {"ours": [ours]}, reference="ours", fraction=2.0)
