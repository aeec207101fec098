"""What do group rates and the text of items add to a trained network? Paired by customer, with the same training rows.

    SHARE=.15 PYTHONPATH=experiments python experiments/first_party_network.py experiment=first_party_ta_feng \\
        'data.feature.group_rates=[age_group,pin_code]' 'seeds=[1]' resamples=100 out=runs/groups
    PYTHONPATH=experiments python experiments/first_party_network.py experiment=first_party_text \\
        'data.feature.text=[department,product_category,product_type]' 'seeds=[1]' resamples=100 out=runs/text

Market statistics are computed once, of all customers; `SHARE` of the customers is trained on, and twice as many are
scored. With text, a tenth of the offers is removed from the log as if nobody had bought them, and they are told apart
from the others.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hydra.utils import instantiate
from new_offers import parent_purchase_days, without_offers

from propensity.command import entry
from propensity.config import CompareConfig

SHARE = float(os.environ.get("SHARE", "1"))
REMOVED, LEAST = 0.1, {"group_rates": 5, "text": 10}  # share of the offers, and buyers that an offer needs


class Prepared(NamedTuple):
    """Training set and cutoff with all columns, rows to train on and to score, and the removed offers."""

    task: Any
    training: Any
    cutoff: Any
    rows: list[np.ndarray]
    scored: np.ndarray
    removed: np.ndarray
    log: Any


def prepared(cfg: CompareConfig, group: str) -> Prepared:
    """Market statistics of everybody, once."""
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


def aucs(score: np.ndarray, bought: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """AUC (M, R) of each offer under weights of the customers (R, N)."""
    out = np.full((bought.shape[1], len(weight)), np.nan)
    for m, (values, hit) in enumerate(zip(score.T, bought.T, strict=True)):
        order = np.argsort(values, kind="stable")
        first = np.concatenate([[0], np.flatnonzero(np.diff(values[order])) + 1])
        own, is_buyer = weight[:, order], hit[order]
        buyers, others = (np.add.reduceat(own * each, first, axis=1) for each in (is_buyer, ~is_buyer))
        below, total = np.cumsum(others, axis=1) - others, buyers.sum(1) * others.sum(1)
        won = ((below + others / 2) * buyers).sum(1)
        out[m] = np.divide(won, total, out=np.full(total.size, np.nan), where=total > 0)
    return out


def line(name: str, values: np.ndarray) -> str:
    """A difference of mean AUC with its interval, from (M, R) of offers and resamples, the first of everybody."""
    mean = np.nanmean(values, axis=0)
    low, high = np.percentile(mean[1:], [2.5, 97.5])
    return f"{name}: {mean[0]:+.4f} [{low:+.4f}, {high:+.4f}] over {len(values)} offers"


@entry("compare")
def main(cfg: CompareConfig) -> None:
    from propensity.evaluation.labels import labels

    Path(cfg.out).mkdir(parents=True, exist_ok=True)
    group = "text" if cfg.data["feature"].get("text") else "group_rates"
    known, others = prepared(cfg, group), tuple(each for each in ("text", "group_rates", "prices") if each != group)
    data = known.cutoff._replace(row=known.scored)
    bought = labels(known.log, data).bought > 0
    rng, size = np.random.default_rng(cfg.seed), len(known.scored)
    weight = np.concatenate([np.ones((1, size)), rng.multinomial(size, np.full(size, 1 / size), cfg.resamples)])
    usable = bought.sum(axis=0) >= LEAST[group]
    hidden = known.removed[usable]
    parts = {"trained offers": ~hidden} | ({"removed offers": hidden} if hidden.any() else {})
    parent = aucs(parent_purchase_days(data)[:, usable], bought[:, usable], weight) if hidden.any() else None
    for seed in map(int, cfg.seeds):
        values = {}
        for name, off in ((group, others), ("none", (group, *others))):
            score = predictions(cfg, known, off, name, seed)
            np.save(Path(cfg.out) / f"{name}_{seed}.npy", score)
            values[name] = aucs(score[:, usable], bought[:, usable], weight)
            for part, mask in parts.items():
                print(f"seed {seed}, {name}, {part}: AUC {np.nanmean(values[name][mask, 0]):.4f}", flush=True)
            if parent is not None:
                print(line(f"seed {seed}, {name} - buyers of the parent", (values[name] - parent)[hidden]), flush=True)
        for part, mask in parts.items():
            print(line(f"seed {seed}, {group} - none, {part}", (values[group] - values["none"])[mask]), flush=True)


if __name__ == "__main__":
    main()
