"""Who will buy an offer that nobody has bought yet? A tenth of the offers is removed from the log and scored.

The network is compared with LightGBM, which has no offer embeddings, and with a heuristic: customers ranked by their
purchase days with other offers of the same parent. Intervals come from a bootstrap over customers and offers.

    python experiments/new_offers.py experiment=new_offers
    python experiments/new_offers.py experiment=new_offers_ta_feng
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate

from propensity.atomic import whole_file
from propensity.command import entry
from propensity.config import CompareConfig

METRICS = ("auc", "average_precision", "lift")
MIN_BUYERS = 10  # removed offers with fewer buyers in the horizon are not evaluated


def without_offers(log: Any, offers: Any, names: np.ndarray) -> Any:
    """The log as if no item of the named offers had ever been sold: events stay, their item becomes -1 (none)."""
    removed = np.zeros(log.items.height + 1, bool)
    entries = np.isin(offers.item_offer, np.flatnonzero(np.isin(offers.name, names)))
    removed[offers.item[entries]] = True
    return replace(log, item=np.where(removed[log.item], -1, log.item).astype(np.int32))


def evaluate_sample(cfg: CompareConfig, number: int) -> tuple[dict[str, np.ndarray], int]:
    """Removes a random tenth of the offers, fits and evaluates.

    Returns model -> (offers, 1 + resamples, 3) of AUC, average precision and lift, and the number of customers.
    """
    import lightning.pytorch as pl

    from propensity.baseline.lightgbm import LightGBM
    from propensity.data.cutoff import parse_cutoff
    from propensity.data.offer import active_offers
    from propensity.evaluation.labels import labels
    from propensity.feature.features import Features
    from propensity.feature.market_stats import MarketStatsBuilder
    from propensity.metric.interval import resample_weights
    from propensity.report.table import say
    from propensity.task import CutoffData
    from propensity.training.fit import Stage, fit
    from propensity.training.predict import predict
    from propensity.training.run import untrained

    task = instantiate(cfg.data, _convert_="all")
    log = task.open()
    cutoff = parse_cutoff(log, cfg.cutoffs[0], task.horizon)
    offers = active_offers(log.before(cutoff.day), task.offer, cutoff)
    names = np.random.default_rng((cfg.seed, number)).choice(offers.name, len(offers) // 10, replace=False)
    reduced_log = without_offers(log, task.offer.all(log), names)
    say(f"sample {number + 1}: {names.size} of {len(offers)} offers removed")
    pl.seed_everything(cfg.seed + number, verbose=False)
    task.end = cfg.cutoffs[0]
    training_set = task.training_set(reduced_log)
    data = instantiate(cfg.training, _convert_="all").data_module(training_set, task, cfg.seed + number)
    model = untrained(cfg, task, training_set, data)
    fit(model, instantiate(cfg.loss), data, cfg, Path(cfg.out) / str(number), Stage("search"))
    past = reduced_log.before(cutoff.day)
    features = Features(past, offers, training_set.vocabulary, task.feature)
    settings = task.market_stats, *task.feature.market_groups
    market_stats = MarketStatsBuilder(past, offers, task.horizon, *settings).at(cutoff)
    cutoff_data = CutoffData(features, market_stats, past.purchasers(cutoff.day))
    trees = LightGBM(launched=task.history_mask.launched, rows=600_000, n_estimators=200, amount_n_estimators=1)
    trees.fit(training_set, cfg.seed)
    removed = np.flatnonzero(np.isin(offers.name, names))
    scores = {
        "network": predict(model, cutoff_data).probability[:, removed],
        "lightgbm": lightgbm_scores(trees, cutoff_data, removed),
        "parent": parent_purchase_days(cutoff_data)[:, removed],
    }
    bought = labels(log, cutoff_data).bought
    weight = resample_weights([np.asarray(log.customer_id)], cfg.resamples, cfg.seed)[0]
    weight = weight[np.searchsorted(log.customer_id, cutoff_data.customer_id)]
    return ranking_metrics(scores, bought[:, removed], weight), cutoff_data.row.size


def lightgbm_scores(trees: Any, cutoff_data: Any, offers: np.ndarray) -> np.ndarray:
    """LightGBM's probabilities of the offers at the places `offers` (K,): (N, K)."""
    from propensity.baseline.regression import logistic

    parts = []
    for _, inputs in cutoff_data.blocks():
        selected = inputs._replace(pair=inputs.pair[:, offers], context=inputs.context[offers])
        parts.append(logistic(trees.outputs(selected).logit))
    return np.concatenate(parts)


def parent_purchase_days(cutoff_data: Any) -> np.ndarray:
    """Purchase days of the last 91 days with the other offers of the same parent: (N, M)."""
    sibling = (cutoff_data.market_stats.sibling > 0).astype(np.float32)
    column = cutoff_data.features.config.pair.index("days_91")
    return np.concatenate([np.asarray(i.pair)[:, :, column] @ sibling for _, i in cutoff_data.blocks()])


def ranking_metrics(scores: dict[str, np.ndarray], bought: np.ndarray, weight: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics of the offers with at least `MIN_BUYERS` buyers: model -> (offers, 1 + resamples, 3)."""
    from propensity.kernel.rank import purchase_ranking
    from propensity.metric.ranking import descending

    evaluated = np.flatnonzero(bought.sum(0) >= MIN_BUYERS)
    return {
        name: np.stack(
            [
                purchase_ranking(
                    descending(score[:, m]), np.ascontiguousarray(score[:, m]), bought[:, m].copy(), weight, 0.1
                ).T
                for m in evaluated
            ]
        )
        for name, score in scores.items()
    }


def interval(values: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float]:
    """Mean over offers of (K, 1 + R) and its 95 % interval over resamples of customers and of offers."""
    means = [values[rng.integers(0, len(values), len(values)), 1 + r].mean() for r in range(values.shape[1] - 1)]
    low, high = np.percentile(np.array(means) - np.mean(means) + values[:, 0].mean(), [2.5, 97.5])
    return float(values[:, 0].mean()), float(low), float(high)


def minus_parent(values: dict[str, np.ndarray], seed: int) -> list[str]:
    """Table of scores with their `ranking_metrics`, and the difference of AUC to `parent` with its interval."""
    lines = ["| score | " + " | ".join(METRICS) + " | AUC minus parent |", "|---|" + "---:|" * (len(METRICS) + 1)]
    for name, each in values.items():
        difference, low, high = interval((each - values["parent"])[..., 0], np.random.default_rng(seed))
        cells = [f"{value:.4f}" for value in each[:, 0].mean(0)]
        lines.append(f"| {name} | {' | '.join(cells)} | {difference:+.4f} [{low:+.4f}, {high:+.4f}] |")
    return lines


@entry("compare")
def main(cfg: CompareConfig) -> None:
    samples, customers = zip(*(evaluate_sample(cfg, number) for number in cfg.seeds), strict=True)
    values = {name: np.concatenate([each[name] for each in samples]) for name in samples[0]}
    removed = f"{len(values['network'])} removed offers with {MIN_BUYERS} buyers or more in {len(cfg.seeds)} samples"
    lines = [f"{cfg.cutoffs[0]}: {removed}, {customers[0]:,} customers", ""]
    lines += ["| model | " + " | ".join(METRICS) + " |", "|---|" + "---:|" * len(METRICS)]
    for name, each in values.items():
        lines.append(f"| {name} | " + " | ".join(f"{value:.4f}" for value in each[:, 0].mean(0)) + " |")
    for baseline in ("lightgbm", "parent"):
        rng = np.random.default_rng(cfg.seed)
        difference = values["network"] - values[baseline]
        intervals = [interval(difference[..., k], rng) for k in range(len(METRICS))]
        cells = [f"{value:+.4f} [{low:+.4f}, {high:+.4f}]" for value, low, high in intervals]
        lines.append(f"| network - {baseline} | " + " | ".join(cells) + " |")
    with whole_file(Path(cfg.out) / "table.md") as draft:
        draft.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
