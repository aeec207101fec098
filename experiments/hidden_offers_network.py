"""Who will buy an offer of which only the description is known? Trained networks, on the samples of `hidden_offers`.

For each of the seeds, a random tenth of the offers is removed from the log, as if nobody had bought them, and two
networks are trained on the same rows: one with the text of items, one without. Each seed takes about 100 CPU-seconds
and leaves a file in `out`, which is used again.

    PYTHONPATH=experiments python experiments/hidden_offers_network.py experiment=first_party_text \\
        'data.feature.text=[department,product_category,product_type]' trainer.max_epochs=1 \\
        training.negative_rate=0.1 'cutoffs=[2017-09-04]' 'seeds=[11,12,13,14,15]' resamples=200 out=runs/hidden
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from first_party_network import predictions, prepared
from new_offers import METRICS, interval, parent_purchase_days, ranking_metrics

from propensity.atomic import whole_file
from propensity.command import entry
from propensity.config import CompareConfig

OTHERS = ("group_rates", "prices")
OFF = {"network with text": OTHERS, "network without text": ("text", *OTHERS)}
PAIRS = (
    ("network with text", "parent"),
    ("network without text", "parent"),
    ("network with text", "network without text"),
    ("network with text", "text_long"),
)


def sample(cfg: CompareConfig, seed: int) -> dict[str, np.ndarray]:
    """Metrics (offers, 1 + R, 3) of the hidden offers of one seed by score."""
    from propensity.evaluation.labels import labels
    from propensity.metric.interval import resample_weights

    known = prepared(cfg, "text", seed)
    data = known.cutoff._replace(row=known.scored)
    hidden = np.flatnonzero(known.removed)
    scores = {name: predictions(cfg, known, off, f"{name}_{seed}", seed)[:, hidden] for name, off in OFF.items()}
    column = known.task.feature.pair.index("text_long")
    pair = np.concatenate([np.asarray(inputs.pair)[:, hidden, column] for _, inputs in data.blocks()])
    scores |= {"text_long": np.nan_to_num(pair), "parent": parent_purchase_days(data)[:, hidden]}
    weight = resample_weights([data.customer_id], cfg.resamples, cfg.seed)[0]
    return ranking_metrics(scores, labels(known.log, data).bought[:, hidden], weight)


def kept(cfg: CompareConfig, seed: int) -> dict[str, np.ndarray]:
    """The metrics of one seed, from `out` where they are there."""
    path = Path(cfg.out) / f"hidden_{seed}.npz"
    if not path.is_file():
        metrics = sample(cfg, seed)
        with whole_file(path) as draft, draft.open("wb") as file:
            np.savez(file, allow_pickle=False, **metrics)
    with np.load(path) as stored:
        return dict(stored)


@entry("compare")
def main(cfg: CompareConfig) -> None:
    Path(cfg.out).mkdir(parents=True, exist_ok=True)
    samples = [kept(cfg, int(seed)) for seed in cfg.seeds]
    values = {name: np.concatenate([each[name] for each in samples]) for name in samples[0]}
    print(f"{cfg.cutoffs[0]}: {len(values['parent'])} hidden offers in {len(samples)} samples\n")
    print("| score | " + " | ".join(METRICS) + " |\n|---|" + "---:|" * len(METRICS))
    for name, each in values.items():
        print(f"| {name} | " + " | ".join(f"{value:.4f}" for value in each[:, 0].mean(0)) + " |")
    print()
    for one, other in PAIRS:
        difference, low, high = interval((values[one] - values[other])[..., 0], np.random.default_rng(cfg.seed))
        print(f"AUC of {one} minus {other}: {difference:+.4f} [{low:+.4f}, {high:+.4f}]")


if __name__ == "__main__":
    main()
