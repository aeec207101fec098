"""What waiting costs: the same send dates scored by models trained so many weeks before, against the fresh one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from propensity.metric.evaluation import evaluate
from propensity.metric.labels import Labels, Prediction

FRESH = "0"


def lift_decay(
    all_labels: Sequence[Labels], aged: Mapping[int, Sequence[Prediction]], resamples: int, seed: int
) -> dict[str, Any]:
    """Revenue lift and AUC by age, what each age loses against age 0 on the same resamples, and when to train again.

    Args: truths, one per cutoff; aged, weeks since training -> one prediction per truth; 0 must be there.
    """
    whole = [labels._replace(slices={"all": labels.slices["all"]}) for labels in all_labels]
    made = {str(weeks): aged[weeks] for weeks in sorted(aged)}
    found = evaluate(whole, made, reference=FRESH, resamples=resamples, seed=seed)
    points = [_point(found, name) for name in made]
    every, sentence = retraining(points)
    return {
        "points": points,
        "retrain_every_weeks": every,
        "sentence": sentence,
        "dates": [t.cutoff for t in all_labels],
    }


def retraining(points: Sequence[Mapping[str, Any]]) -> tuple[int | None, str]:
    """The oldest age before a loss of revenue lift is proven and stays so, and a sentence on it.

    A loss is proven where its whole interval lies above zero. With none proven, the oldest age that was tried; without
    intervals, None.

    >>> lost = {"value": 0.2, "low": 0.1, "high": 0.3, "verdict": "win"}
    >>> retraining([{"weeks": 0}, {"weeks": 1, "lost": lost | {"verdict": "tie"}}, {"weeks": 2, "lost": lost}])[0]
    1
    """
    older = [point for point in points if point["weeks"] > 0]
    if not older or any(point["lost"]["verdict"] is None for point in older):
        return None, "no interval, so no advice on when to train again"
    proven = [point["lost"]["verdict"] == "win" for point in older]
    from_here = next((place for place in range(len(older)) if all(proven[place:])), None)
    if from_here is None:
        weeks = int(older[-1]["weeks"])
        seen = max(point["lost"]["minimum_detectable_effect"] for point in older)
        return weeks, (
            f"train again every {_weeks(weeks)} at least: no older model tried is proven to have lost revenue lift "
            f"(a loss of {seen:.2f} would have been seen)"
        )
    first = older[from_here]
    weeks = int(older[from_here - 1]["weeks"]) if from_here else 1
    cost = f"{first['lost']['value']:.2f} [{first['lost']['low']:.2f}, {first['lost']['high']:.2f}]"
    return weeks, f"train again every {_weeks(weeks)}: from {_weeks(first['weeks'])} on, revenue lift is lost ({cost})"


def _point(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    cells = found["models"][name]["mean"]["all"]
    point = {"weeks": int(name), "revenue_lift": cells["revenue_lift"], "auc": cells["auc"]}
    if name == FRESH:
        return point
    change = found["differences"][name]["mean"]["all"]
    dates = [day for day in found["differences"][name] if day != "mean"]
    by_date = {day: found["differences"][name][day]["all"]["revenue_lift"]["value"] for day in dates}
    return point | {"lost": change["revenue_lift"], "lost_auc": change["auc"], "lost_by_date": by_date}


def _weeks(number: int) -> str:
    return "week" if number == 1 else f"{number} weeks"
