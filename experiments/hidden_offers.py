"""Who will buy an offer of which only the description is known? Nothing is trained.

A random tenth of the offers is removed from the log, as if nobody had bought them, for each of the seeds. The text
model does not see them either. Customers are ranked for a removed offer by what they bought of its siblings and of
offers with a similar text. Intervals come from a bootstrap over customers and offers.

    PYTHONPATH=experiments python experiments/hidden_offers.py experiment=first_party_text \\
        'data.feature.text=[department,product_category,product_type]' 'cutoffs=[2017-09-04]' 'seeds=[11,12,13,14,15]'
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hydra.utils import instantiate
from new_offers import minus_parent, parent_purchase_days, ranking_metrics, without_offers

from propensity.command import entry
from propensity.config import CompareConfig

READ = ("sibling_long", "text_short", "text_long", "text_follow")


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks (N, K) of customers for each offer, ties in order."""
    return np.argsort(np.argsort(values, axis=0, kind="stable"), axis=0, kind="stable").astype(np.float64)


def hidden_names(offers: Any, seed: int, day: int) -> np.ndarray:
    """Names of the random tenth of the offers that is hidden at a cutoff."""
    return np.random.default_rng((seed, day)).choice(offers.name, len(offers) // 10, replace=False)


def sample(cfg: CompareConfig, task: Any, log: Any, date: str, seed: int) -> dict[str, np.ndarray]:
    """Metrics (offers, 1 + R, 3) of a random tenth of the offers by score."""
    from propensity.data.cutoff import parse_cutoff
    from propensity.data.offer import active_offers
    from propensity.data.vocabulary import Vocabulary
    from propensity.evaluation.labels import labels
    from propensity.feature.features import Features
    from propensity.feature.market_stats import MarketStatsBuilder
    from propensity.metric.interval import resample_weights
    from propensity.task import CutoffData

    cutoff = parse_cutoff(log, date, task.horizon)
    offers = active_offers(log.before(cutoff.day), task.offer, cutoff)
    names = hidden_names(offers, seed, cutoff.day)
    past = without_offers(log, task.offer.all(log), names).before(cutoff.day)
    vocabulary = Vocabulary.fit(past, task.offer, cutoff.day, task.feature.used_text)
    features = Features(past, offers, vocabulary, task.feature)
    builder = MarketStatsBuilder(past, offers, task.horizon, task.market_stats, *task.feature.market_groups)
    data = CutoffData(features, builder.at(cutoff), past.purchasers(cutoff.day))
    removed = np.flatnonzero(np.isin(offers.name, names))
    pair = np.concatenate([np.asarray(inputs.pair)[:, removed] for _, inputs in data.blocks()])
    scores = {name: np.nan_to_num(pair[..., task.feature.pair.index(name)]) for name in READ}
    scores["ranks of text_long and sibling_long"] = ranks(scores["text_long"]) + ranks(scores["sibling_long"])
    scores = {"parent": parent_purchase_days(data)[:, removed]} | scores
    weight = resample_weights([data.customer_id], cfg.resamples, cfg.seed)[0]
    return ranking_metrics(scores, labels(log, data).bought[:, removed], weight)


def table(cfg: CompareConfig, date: str) -> list[str]:
    """Lines of Markdown for a cutoff."""
    task = instantiate(cfg.data, _convert_="all")
    task.feature = replace(task.feature, groups=("text",))
    log = task.open()
    samples = [sample(cfg, task, log, date, int(seed)) for seed in cfg.seeds]
    values = {name: np.concatenate([each[name] for each in samples]) for name in samples[0]}
    lines = [f"{date}: {len(values['parent'])} removed offers in {len(samples)} samples", ""]
    return [*lines, *minus_parent(values, cfg.seed)]


@entry("compare")
def main(cfg: CompareConfig) -> None:
    for date in cfg.cutoffs:
        print("\n".join(table(cfg, date)), end="\n\n")


if __name__ == "__main__":
    main()
