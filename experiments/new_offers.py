"""Who will buy what nobody has bought yet? A tenth of the offers is hidden from the log, and asked about all the same.

The network and LightGBM, which has no names of offers, know attributes and what each customer does with siblings; the
custom they are held against is "buyers of the parent category". Intervals resample customers and offers.

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

ROWS = ("auc", "average_precision", "lift")


def hide(log: Any, offers: Any, names: np.ndarray) -> Any:
    """The log as if no item of the named offers had ever been sold: visits stay, what was in the basket does not."""
    gone = np.zeros(log.items.height + 1, bool)
    entries = np.isin(offers.item_offer, np.flatnonzero(np.isin(offers.name, names)))
    gone[offers.item[entries]] = True
    return replace(log, item=np.where(gone[log.item], -1, log.item).astype(np.int32))


def draw(cfg: CompareConfig, number: int) -> tuple[dict[str, np.ndarray], int]:
    """One tenth hidden: model -> (offers, 1 + resamples, 3) of AUC, average precision and lift; number of customers."""
    import lightning.pytorch as pl

    from propensity.baseline.lightgbm import LightGBM
    from propensity.data.cutoff import cutoff_of
    from propensity.data.offer import on_sale
    from propensity.evaluation.evaluate import labels
    from propensity.feature.features import Features
    from propensity.feature.market_stats import MarketStatsBuilder
    from propensity.metric.interval import resample_weights
    from propensity.report.table import say
    from propensity.task import CutoffData
    from propensity.training.fit import fit
    from propensity.training.predict import predict

    task = instantiate(cfg.data, _convert_="all")
    log = task.open()
    cutoff = cutoff_of(log, cfg.cutoffs[0], task.horizon)
    offers = on_sale(log.before(cutoff.day), task.offer, cutoff)
    names = np.random.default_rng((cfg.seed, number)).choice(offers.name, len(offers) // 10, replace=False)
    hidden = hide(log, task.offer.all(log), names)
    say(f"draw {number + 1}: {names.size} of {len(offers)} offers hidden")
    pl.seed_everything(cfg.seed + number, verbose=False)
    task.end = cfg.cutoffs[0]
    training_set = task.training_set(hidden)
    model = instantiate(cfg.model, sizes=task.feature.sizes(training_set.vocabulary))
    data = instantiate(cfg.training, _convert_="all").data_module(training_set, task, cfg.seed + number)
    model.fit_scales(data.sample())
    fit(model, instantiate(cfg.loss), data, cfg, Path(cfg.out) / str(number))
    past = hidden.before(cutoff.day)
    known = Features(past, offers, training_set.vocabulary, task.feature)
    market_stats = MarketStatsBuilder(past, offers, task.horizon, task.market_stats).at(cutoff)
    cutoff_data = CutoffData(known, market_stats, past.purchasers(cutoff.day))
    trees = LightGBM(launched=cfg.data["history_mask"]["launched"], rows=600_000, n_estimators=200, amount_trees=1)
    trees.fit(training_set, cfg.seed)
    shown = np.flatnonzero(np.isin(offers.name, names))
    answers = {
        "network": predict(model, cutoff_data).probability[:, shown],
        "lightgbm": chances(trees, cutoff_data, shown),
        "parent": parent_buyers(cutoff_data)[:, shown],
    }
    happened = labels(log, cutoff_data)
    weight = resample_weights([np.asarray(log.customer_id)], cfg.resamples, cfg.seed)[0]
    weight = weight[np.searchsorted(log.customer_id, cutoff_data.customer_id)]
    return judged(answers, happened.bought[:, shown], weight), cutoff_data.customer.size


def chances(trees: Any, cutoff_data: Any, shown: np.ndarray) -> np.ndarray:
    """What LightGBM says of the offers `shown` alone: (N, K)."""
    parts = []
    for _, inputs in cutoff_data.blocks():
        few = inputs._replace(pair=inputs.pair[:, shown], context=inputs.context[shown])
        parts.append(trees.answer(trees.purchase, few))
    return np.concatenate(parts)


def parent_buyers(cutoff_data: Any) -> np.ndarray:
    """Purchase days of 91 days with the other offers of the same parent: (N, M)."""
    related = (cutoff_data.market_stats.sibling > 0).astype(np.float32)
    column = cutoff_data.features.rule.pair.index("days_91")
    return np.concatenate([np.asarray(i.pair)[:, :, column] @ related for _, i in cutoff_data.blocks()])


def judged(answers: dict[str, np.ndarray], bought: np.ndarray, weight: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics of the offers with ten buyers or more: model -> (offers, 1 + resamples, 3)."""
    from propensity.kernel.rank import purchase_ranking
    from propensity.metric.ranking import descending

    scored = np.flatnonzero(bought.sum(0) >= 10)
    return {
        name: np.stack(
            [
                purchase_ranking(
                    descending(score[:, m]), np.ascontiguousarray(score[:, m]), bought[:, m].copy(), weight, 0.1
                ).T
                for m in scored
            ]
        )
        for name, score in answers.items()
    }


def interval(rows: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float]:
    """Mean over offers (K, 1 + R) and its 95 % band over resamples of customers and of offers."""
    means = [rows[rng.integers(0, len(rows), len(rows)), 1 + r].mean() for r in range(rows.shape[1] - 1)]
    low, high = np.percentile(np.array(means) - np.mean(means) + rows[:, 0].mean(), [2.5, 97.5])
    return float(rows[:, 0].mean()), float(low), float(high)


@entry("compare")
def main(cfg: CompareConfig) -> None:
    found, customers = zip(*(draw(cfg, number) for number in cfg.seeds), strict=True)
    rows = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
    hidden = f"{len(rows['network'])} hidden offers with 10 buyers or more in {len(cfg.seeds)} draws"
    lines = [f"{cfg.cutoffs[0]}: {hidden}, {customers[0]:,} customers", ""]
    lines += ["| model | " + " | ".join(ROWS) + " |", "|---|" + "---:|" * len(ROWS)]
    for name, each in rows.items():
        lines.append(f"| {name} | " + " | ".join(f"{value:.4f}" for value in each[:, 0].mean(0)) + " |")
    for rival in ("lightgbm", "parent"):
        rng = np.random.default_rng(cfg.seed)
        bands = [interval((rows["network"] - rows[rival])[..., k], rng) for k in range(len(ROWS))]
        cells = [f"{value:+.4f} [{low:+.4f}, {high:+.4f}]" for value, low, high in bands]
        lines.append(f"| network - {rival} | " + " | ".join(cells) + " |")
    with whole_file(Path(cfg.out) / "table.md") as draft:
        draft.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
