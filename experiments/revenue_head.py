"""Does a learned amount capture more revenue than a usual amount? The same probabilities, ranked in three ways.

    python experiments/revenue_head.py runs/cold/history/2017-08-21/17 runs/cold/history/2017-09-18/17

Each run is evaluated at the cutoff by which its training labels closed: probability x the mean of the network's
log-normal (ZILN), probability x the customer's mean spend per purchase day shrunk to the offer's, and probability.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import numpy as np

from propensity.baseline.pair_table import usual_amount
from propensity.evaluation.evaluate import cutoff_data_of
from propensity.evaluation.labels import labels
from propensity.metric.builtin import METRICS
from propensity.metric.evaluation import evaluate
from propensity.metric.labels import Labels, Prediction
from propensity.training.checkpoint import load_trained
from propensity.training.predict import predict

RANKINGS = {"ziln": "probability x ZILN", "usual": "probability x usual amount", "chance": "probability"}
SHOWN = {
    metric.name: metric.described(0.1)["title"]
    for metric in METRICS
    if metric.name in ("revenue_capture", "normalised_revenue_capture")
}


def predictions(run: str) -> tuple[Labels, dict[str, Prediction]]:
    """The labels after a run's last training label, and its probabilities with each amount."""
    trained = load_trained(run)
    log = trained.task.open()
    cutoff_data = cutoff_data_of(trained, log, trained.about["end"])
    scores = predict(trained.model, cutoff_data)
    usual = np.concatenate([usual_amount(cutoff_data, inputs) for _, inputs in cutoff_data.blocks()])
    chance = scores.probability
    values = {"ziln": scores.revenue, "usual": chance * usual, "chance": chance}
    return labels(log, cutoff_data), {ranking: Prediction(chance, value) for ranking, value in values.items()}


def main(runs: Sequence[str], say: Callable[[str], None] = print) -> None:
    """Prints the tables of the means over the runs' cutoffs."""
    results = [predictions(run) for run in runs]
    all_labels, by_run = [each for each, _ in results], [each for _, each in results]
    metrics = evaluate(
        all_labels,
        {ranking: [each[ranking] for each in by_run] for ranking in RANKINGS},
        reference="ziln",
        resamples=400,
    )
    say("| ranked by | " + " | ".join(SHOWN.values()) + " |\n|---|" + "---:|" * len(SHOWN))
    for ranking, name in RANKINGS.items():
        cells = [f"{metrics['models'][ranking]['mean']['all'][key]['value']:.4f}" for key in SHOWN]
        say(f"| {name} | " + " | ".join(cells) + " |")
    say("\n| ZILN minus | " + " | ".join(SHOWN.values()) + " |\n|---|" + "---|" * len(SHOWN))
    for ranking in list(RANKINGS)[1:]:
        differences = [metrics["differences"][ranking]["mean"]["all"][key] for key in SHOWN]
        cells = [f"{cell['value']:+.4f} [{cell['low']:+.4f}, {cell['high']:+.4f}]" for cell in differences]
        say(f"| {RANKINGS[ranking]} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])
