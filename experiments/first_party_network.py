"""What do group rates, prices and the text of items add to a trained network? Paired by customer, the same rows.

    SHARE=.15 PYTHONPATH=experiments python experiments/first_party_network.py experiment=first_party_ta_feng \\
        'data.feature.group_rates=[age_group,pin_code]' 'seeds=[1]' resamples=100 out=runs/groups
    PYTHONPATH=experiments python experiments/first_party_network.py experiment=complete_journey \\
        'data.feature.group_rates=[age,income,household_size,kids_count]' training.validation=null \\
        trainer.max_epochs=1 'cutoffs=[2017-08-21]' 'seeds=[1]' resamples=200 out=runs/demographics
    PYTHONPATH=experiments python experiments/first_party_network.py experiment=first_party_text \\
        'data.feature.text=[department,product_category,product_type]' 'seeds=[1]' resamples=100 out=runs/text
    PYTHONPATH=experiments python experiments/first_party_network.py experiment=complete_journey \\
        'data.feature.groups=[GROUPS,prices]' \\
        training.validation=null trainer.max_epochs=1 'cutoffs=[2017-08-21]' 'seeds=[1]' resamples=200 out=runs/prices

`GROUPS` are the groups that are on by default. Market statistics are computed once, of all customers; `SHARE` of the
customers is trained on, and twice as many are scored. With text, a share `REMOVED` of the offers, by default a tenth,
is removed from the log as if nobody had bought them, and they are told apart from the others.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hidden_offers import hidden_names
from hydra.utils import instantiate
from new_offers import parent_purchase_days, without_offers

from propensity.command import entry
from propensity.config import CompareConfig

SHARE = float(os.environ.get("SHARE", "1"))
REMOVED = float(os.environ.get("REMOVED", "0.1"))  # share of the offers that is hidden
LEAST = {"group_rates": 5, "text": 10, "prices": 5}  # buyers that an offer needs
SLICES = ("all", "never-bought", "lapsed", "repeat", "dormant", "light")


class Prepared(NamedTuple):
    """Training set and cutoff with all columns, rows to train on and to score, and the removed offers."""

    task: Any
    training: Any
    cutoff: Any
    rows: list[np.ndarray]
    scored: np.ndarray
    removed: np.ndarray
    log: Any


def prepared(cfg: CompareConfig, group: str, hidden_sample: int | None = None) -> Prepared:
    """Market statistics of everybody, once, without the offers of a sample of `hidden_offers` if one is given."""
    from propensity.data.cutoff import parse_cutoff
    from propensity.data.offer import active_offers
    from propensity.feature.features import Features
    from propensity.feature.market_stats import MarketStatsBuilder
    from propensity.task import CutoffData

    task = instantiate(cfg.data, _convert_="all")
    log, task.end = task.open(), cfg.cutoffs[0]
    cutoff, rng = parse_cutoff(log, cfg.cutoffs[0], task.horizon), np.random.default_rng((cfg.seed, 0))
    offers = active_offers(log.before(cutoff.day), task.offer, cutoff)
    names = rng.choice(offers.name, int(REMOVED * len(offers)), replace=False) if group == "text" else []
    names = names if hidden_sample is None else hidden_names(offers, hidden_sample, cutoff.day)
    reduced = without_offers(log, task.offer.all(log), names) if len(names) else log
    training, past = task.training_set(reduced), reduced.before(cutoff.day)
    builder = MarketStatsBuilder(past, offers, task.horizon, task.market_stats, *task.feature.market_groups)
    features = Features(past, offers, training.vocabulary, task.feature)
    data = CutoffData(features, builder.at(cutoff), past.purchasers(cutoff.day))
    rows = [sample(each.row, SHARE, rng) for each in training.cutoffs_data]
    removed = np.isin(offers.name, names)
    return Prepared(task, training, data, rows, sample(data.row, min(2 * SHARE, 1.0), rng), removed, log)


def sample(rows: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A share of rows, ascending."""
    return np.sort(rng.choice(rows, int(share * rows.size), replace=False))


def predictions(cfg: CompareConfig, known: Prepared, off: tuple[str, ...], name: str, seed: int) -> np.ndarray:
    """Probabilities (N, M) of a network that was trained without some groups of columns."""
    import lightning.pytorch as pl

    from propensity.feature.features import Features
    from propensity.task import CutoffData, TrainingSet
    from propensity.training.fit import Stage, fit
    from propensity.training.predict import predict
    from propensity.training.run import untrained

    feature = known.task.feature
    task = replace(known.task, feature=replace(feature, groups=tuple(g for g in feature.groups if g not in off)))
    vocabulary = replace(known.training.vocabulary, text=None) if "text" in off else known.training.vocabulary
    both = [
        Features(each.log, each.offers, vocabulary, task.feature)
        for each in (known.training.features, known.cutoff.features)
    ]
    parts = [
        CutoffData(both[0], data.market_stats, row)
        for data, row in zip(known.training.cutoffs_data, known.rows, strict=True)
    ]
    pl.seed_everything(seed, verbose=False)
    training = TrainingSet(parts, known.training.weights, vocabulary)
    data = instantiate(cfg.training, _convert_="all").data_module(training, task, seed)
    model = untrained(cfg, task, training, data)
    fit(model, instantiate(cfg.loss), data, cfg, Path(cfg.out) / f"{name}_{seed}", Stage("search"))
    return np.asarray(predict(model, CutoffData(both[1], known.cutoff.market_stats, known.scored)).probability)


def aucs(score: np.ndarray, bought: np.ndarray, weight: np.ndarray, mask: np.ndarray, least: int) -> np.ndarray:
    """AUC (M, 1 + R) of each offer among the pairs of a mask, under weights of the customers (N, 1 + R).

    Offers with fewer than `least` buyers among the pairs, and weights without a buyer, are NaN.
    """
    from propensity.kernel.rank import purchase_ranking
    from propensity.metric.ranking import descending

    out = np.full((bought.shape[1], weight.shape[1]), np.nan)
    for m in np.flatnonzero((bought & mask).sum(axis=0) >= least):
        rows = np.flatnonzero(mask[:, m])
        column = np.ascontiguousarray(score[:, m])
        out[m] = purchase_ranking(rows[descending(column[rows])], column, bought[:, m].copy(), weight, 0.1)[0]
    return out


def line(name: str, values: np.ndarray) -> str:
    """A difference of mean AUC with its interval, from (M, 1 + R) of offers and resamples, the first of everybody."""
    evaluated = values[np.isfinite(values[:, 0])]
    mean = np.nanmean(evaluated, axis=0)
    low, high = np.percentile(mean[1:] - mean[1:].mean() + mean[0], [2.5, 97.5])
    return f"{name}: {mean[0]:+.4f} [{low:+.4f}, {high:+.4f}] over {len(evaluated)} offers"


class Pairs(NamedTuple):
    """Purchases (N, M), the parts that are evaluated, weights (N, 1 + R), and scores of the simple rule (N, M)."""

    bought: np.ndarray
    parts: dict[str, np.ndarray]
    weight: np.ndarray
    parent: np.ndarray | None
    least: int

    def aucs(self, score: np.ndarray) -> dict[str, np.ndarray]:
        """AUC (M, 1 + R) of each part."""
        return {part: aucs(score, self.bought, self.weight, mask, self.least) for part, mask in self.parts.items()}


def evaluated_pairs(cfg: CompareConfig, known: Prepared, group: str) -> Pairs:
    """The pairs that are scored: by slice, or with hidden offers apart."""
    from propensity.evaluation.labels import labels
    from propensity.metric.interval import resample_weights

    data = known.cutoff._replace(row=known.scored)
    truth = labels(known.log, data)
    everybody = np.ones(truth.bought.shape, bool)
    parts = {name: truth.slices[name] for name in SLICES}
    parent = None
    if known.removed.any():
        parts = {"hidden offers": everybody & known.removed, "other offers": everybody & ~known.removed}
        parent = parent_purchase_days(data)
    weight = resample_weights([truth.customer], cfg.resamples, cfg.seed)[0]
    return Pairs(truth.bought, parts, weight, parent, LEAST[group])


@entry("compare")
def main(cfg: CompareConfig) -> None:
    Path(cfg.out).mkdir(parents=True, exist_ok=True)
    feature = cfg.data["feature"]
    prices = "prices" in (feature.get("groups") or ())
    group = "text" if feature.get("text") else "prices" if prices else "group_rates"
    known, others = prepared(cfg, group), tuple(each for each in ("text", "group_rates", "prices") if each != group)
    pairs = evaluated_pairs(cfg, known, group)
    parent = None if pairs.parent is None else aucs(pairs.parent, pairs.bought, pairs.weight, *hidden(pairs))
    for seed in map(int, cfg.seeds):
        values = {}
        for name, off in ((group, others), ("none", (group, *others))):
            score = predictions(cfg, known, off, name, seed)
            np.save(Path(cfg.out) / f"{name}_{seed}.npy", score)
            values[name] = pairs.aucs(score)
            for part, each in values[name].items():
                print(f"seed {seed}, {name}, {part}: AUC {np.nanmean(each[:, 0]):.4f}", flush=True)
            if parent is not None:
                print(line(f"seed {seed}, {name} - buyers of the parent", values[name]["hidden offers"] - parent))
        for part, each in values[group].items():
            print(line(f"seed {seed}, {group} - none, {part}", each - values["none"][part]), flush=True)


def hidden(pairs: Pairs) -> tuple[np.ndarray, int]:
    """The pairs of hidden offers, and the buyers that an offer needs."""
    return pairs.parts["hidden offers"], pairs.least


if __name__ == "__main__":
    main()
