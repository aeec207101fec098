"""What does the text of an offer, or the group of a customer, tell of purchases without any training?

Text: each offer is ranked by what customers bought of offers with a similar text, as if nobody had bought it yet, and
by the purchase days of its parent. Groups: each offer is ranked by the group rates alone. Intervals come from a
bootstrap over customers and offers.

    PYTHONPATH=experiments python experiments/first_party.py experiment=first_party_text
    PYTHONPATH=experiments python experiments/first_party.py experiment=first_party_ta_feng
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hydra.utils import instantiate
from new_offers import minus_parent, parent_purchase_days, ranking_metrics

from propensity.command import entry
from propensity.config import CompareConfig


def cutoff_data(cfg: CompareConfig, date: str) -> tuple[Any, Any]:
    """The cutoff, and the log; of the columns only those that are scored, and what they need."""
    from propensity.data.cutoff import parse_cutoff
    from propensity.data.vocabulary import Vocabulary

    task = instantiate(cfg.data, _convert_="all")
    task.feature = replace(task.feature, groups=("text", "group_rates"))
    log = task.open()
    cutoff = parse_cutoff(log, date, task.horizon)
    vocabulary = Vocabulary.fit(log.before(cutoff.day), task.offer, cutoff.day, task.feature.used_text)
    return task.cutoff_data(log, cutoff, vocabulary), log


def scores(data: Any) -> dict[str, np.ndarray]:
    """Scores (N, M) by name; none of them reads purchases of the offer itself by the customer."""
    names = data.features.config.pair
    read = [name for name in names if name in ("sibling_long", "text_long") or name.startswith("group_rate_364")]
    blocks = [np.asarray(inputs.pair)[..., [names.index(name) for name in read]] for _, inputs in data.blocks()]
    values = np.nan_to_num(np.concatenate(blocks))
    found = {name: np.ascontiguousarray(values[..., k]) for k, name in enumerate(read)}
    rates = [each for name, each in found.items() if name.startswith("group_rate")]
    together = {"group rates together": np.sum(rates, axis=0)} if rates else {}
    return {"parent": parent_purchase_days(data)} | found | together


def table(cfg: CompareConfig, date: str) -> list[str]:
    """Lines of Markdown for a cutoff."""
    from propensity.evaluation.labels import labels
    from propensity.metric.interval import resample_weights

    data, log = cutoff_data(cfg, date)
    bought = labels(log, data).bought
    weight = resample_weights([np.asarray(log.customer_id)], cfg.resamples, cfg.seed)[0]
    weight = weight[np.searchsorted(log.customer_id, data.customer_id)]
    values = ranking_metrics(scores(data), bought, weight)
    lines = [f"{date}: {len(values['parent'])} offers, {data.row.size:,} customers", ""]
    return [*lines, *minus_parent(values, cfg.seed)]


@entry("compare")
def main(cfg: CompareConfig) -> None:
    for date in cfg.cutoffs:
        print("\n".join(table(cfg, date)), end="\n\n")


if __name__ == "__main__":
    main()
