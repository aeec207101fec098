"""Lift decay: the same cutoffs scored by models trained so many weeks before, against the newest model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from propensity.metric.evaluation import evaluate
from propensity.metric.labels import Labels, Prediction

NEWEST = "0"


def lift_decay(
    all_labels: Sequence[Labels], aged: Mapping[int, Sequence[Prediction]], resamples: int, seed: int
) -> dict[str, Any]:
    """Revenue lift and AUC by model age, the loss against age 0 on the same resamples, and how often to retrain.

    Parameters
    ----------
    all_labels : sequence of Labels
        One per cutoff.
    aged : mapping of int to sequence of Prediction
        Weeks since training to one prediction per cutoff; 0 must be among them.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        `points` by age, `retrain_every_weeks`, a `sentence` on it, and the cutoffs as `dates`.
    """
    whole = [labels._replace(slices={"all": labels.slices["all"]}) for labels in all_labels]
    predictions = {str(weeks): aged[weeks] for weeks in sorted(aged)}
    report = evaluate(whole, predictions, reference=NEWEST, resamples=resamples, seed=seed)
    points = [_point(report, name) for name in predictions]
    every, sentence = retraining(points)
    return {
        "points": points,
        "retrain_every_weeks": every,
        "sentence": sentence,
        "dates": [t.cutoff for t in all_labels],
    }


def retraining(points: Sequence[Mapping[str, Any]]) -> tuple[int | None, str]:
    """The oldest age before revenue lift is lost at all older ages, and a sentence on it.

    Lift is lost where the whole interval of the loss is above zero. Where it never is, the oldest age; without
    intervals, None.

    >>> lost = {"value": 0.2, "low": 0.1, "high": 0.3, "verdict": "win"}
    >>> retraining([{"weeks": 0}, {"weeks": 1, "lost": lost | {"verdict": "tie"}}, {"weeks": 2, "lost": lost}])[0]
    1
    """
    older = [point for point in points if point["weeks"] > 0]
    if not older or any(point["lost"]["verdict"] is None for point in older):
        return None, "no interval, so no advice on when to retrain"
    lost = [point["lost"]["verdict"] == "win" for point in older]
    from_here = next((place for place in range(len(older)) if all(lost[place:])), None)
    if from_here is None:
        weeks = int(older[-1]["weeks"])
        effect = max(point["lost"]["minimum_detectable_effect"] for point in older)
        return weeks, (
            f"retrain at least every {_weeks(weeks)}: up to that age no loss of revenue lift is significant "
            f"(minimum detectable effect {effect:.2f})"
        )
    first = older[from_here]
    weeks = int(older[from_here - 1]["weeks"]) if from_here else 1
    cost = f"{first['lost']['value']:.2f} [{first['lost']['low']:.2f}, {first['lost']['high']:.2f}]"
    return weeks, f"retrain every {_weeks(weeks)}: from {_weeks(first['weeks'])} on, revenue lift is lost ({cost})"


def _point(report: Mapping[str, Any], name: str) -> dict[str, Any]:
    cells = report["models"][name]["mean"]["all"]
    point = {"weeks": int(name), "revenue_lift": cells["revenue_lift"], "auc": cells["auc"]}
    if name == NEWEST:
        return point
    change = report["differences"][name]["mean"]["all"]
    dates = [day for day in report["differences"][name] if day != "mean"]
    by_date = {day: report["differences"][name][day]["all"]["revenue_lift"]["value"] for day in dates}
    return point | {"lost": change["revenue_lift"], "lost_auc": change["auc"], "lost_by_date": by_date}


def _weeks(number: int) -> str:
    return "week" if number == 1 else f"{number} weeks"
