"""Does learning amounts find more revenue than the usual amount? The same chances, ranked in three ways.

    python experiments/revenue_head.py runs/cold/history/2017-08-21/17 runs/cold/history/2017-09-18/17

Each run is judged at the date by which its training labels closed: chance x the mean of the network's log-normal
(ZILN), chance x the customer's mean spend per purchase day drawn to the offer's, and the chance alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import numpy as np

from propensity.baseline.pair_table import usual_amount
from propensity.evaluation.evaluate import cutoff_data_of, labels
from propensity.metric.evaluation import evaluate
from propensity.metric.labels import Labels, Prediction
from propensity.training.checkpoint import load_trained
from propensity.training.predict import predict

WAYS = {"ziln": "chance x ZILN", "usual": "chance x usual amount", "chance": "chance alone"}
SHOWN = {"revenue_capture": "revenue caught by the best 10 %", "normalised_revenue_capture": "of the possible"}


def answers(run: str) -> tuple[Labels, dict[str, Prediction]]:
    """What came true after a run's last label, and its chances with each idea of an amount."""
    trained = load_trained(run)
    log = trained.task.open()
    cutoff_data = cutoff_data_of(trained, log, trained.about["end"])
    scores = predict(trained.model, cutoff_data)
    usual = np.concatenate([usual_amount(cutoff_data, inputs) for _, inputs in cutoff_data.blocks()])
    chance = scores.probability
    values = {"ziln": scores.revenue, "usual": chance * usual, "chance": chance}
    return labels(log, cutoff_data), {way: Prediction(chance, value) for way, value in values.items()}


def main(runs: Sequence[str], say: Callable[[str], None] = print) -> None:
    """Prints the tables for the mean of the runs' dates."""
    found = [answers(run) for run in runs]
    all_labels, given = [each for each, _ in found], [each for _, each in found]
    metrics = evaluate(
        all_labels, {way: [each[way] for each in given] for way in WAYS}, reference="ziln", resamples=400
    )
    say("| ranked by | " + " | ".join(SHOWN.values()) + " |\n|---|" + "---:|" * len(SHOWN))
    for way, name in WAYS.items():
        cells = [f"{metrics['models'][way]['mean']['all'][key]['value']:.4f}" for key in SHOWN]
        say(f"| {name} | " + " | ".join(cells) + " |")
    say("\n| ZILN minus | " + " | ".join(SHOWN.values()) + " |\n|---|" + "---|" * len(SHOWN))
    for way in list(WAYS)[1:]:
        bands = [metrics["differences"][way]["mean"]["all"][key] for key in SHOWN]
        cells = [
            f"{bootstrap_interval['value']:+.4f} [{bootstrap_interval['low']:+.4f}, {bootstrap_interval['high']:+.4f}]"
            for bootstrap_interval in bands
        ]
        say(f"| {WAYS[way]} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])
