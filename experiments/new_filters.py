"""Fifty random filters of Complete Journey, answered by a run that was not trained with them.

    python experiments/new_filters.py train end=2017-10-16 out=runs/with_filters
    python experiments/new_filters.py score run=runs/demo trained=runs/with_filters cutoffs=2017-11-13,2017-12-04

The first command trains a network with the categories and the filters. The second compares it with a run that was
trained with the categories alone, on the same customers. Intervals: paired bootstrap over customers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import process_time
from typing import Any

import numpy as np
import polars as pl

from propensity.data.offer import Offers, build_offers
from propensity.data.offer.column import ColumnOffers
from propensity.data.offer.filter import FilterOffers

FILTERS = 50
MIN_BUYERS = 30  # in the 91 days before the date that the filters are drawn for


@dataclass
class CategoriesAndFilters(ColumnOffers):
    """One offer for each value of a column, and one for each filter."""

    filters: dict[str, str] = field(default_factory=dict)

    def all(self, log: Any) -> Offers:
        first, second = super().all(log), FilterOffers(self.filters).all(log)
        item = np.concatenate([first.item, second.item])
        offer = np.concatenate([first.item_offer, second.item_offer + len(first)])
        order = np.argsort(item, kind="stable")
        return build_offers(first.name + second.name, item[order], offer[order], log.items.height)


def candidates(items: pl.DataFrame, weight: np.ndarray, rng: np.random.Generator) -> Iterator[str]:
    """Random filters: values of columns drawn by their sales, alone, united and intersected."""

    def value(column: str) -> str:
        return str(rng.choice(items[column].drop_nulls().gather(drawn(column))))

    def drawn(column: str) -> np.ndarray:
        known = items[column].is_not_null().to_numpy()
        share = weight[known] / weight[known].sum()
        return rng.choice(known.sum(), 1, p=share)

    def is_(column: str) -> str:
        return f"{column} = '{value(column).replace(chr(39), chr(39) * 2)}'"

    def any_of(column: str, count: int) -> str:
        values = sorted({value(column).replace("'", "''") for _ in range(count)})
        return f"{column} in ({', '.join(repr_(each) for each in values)})"

    def repr_(text: str) -> str:
        return f"'{text}'"

    shapes = (
        lambda: f"{is_('department')} and {is_('brand')}",
        lambda: f"{is_('product_category')} and {is_('brand')}",
        lambda: any_of("product_category", int(rng.integers(2, 9))),
        lambda: any_of("product_type", int(rng.integers(2, 30))),
        lambda: is_("product_type"),
        lambda: is_("manufacturer_id"),
        lambda: is_("department"),
        lambda: f"{any_of('product_category', 5)} and {is_('brand')}",
        lambda: f"{is_('department')} and not {any_of('product_category', 4)}",
        lambda: f"{is_('manufacturer_id')} or {is_('product_type')}",
        lambda: f"{any_of('package_size', 6)} and {is_('department')}",
    )
    while True:
        for shape in shapes:
            yield shape()


def random_filters(log: Any, day: int, seed: int = 19) -> dict[str, str]:
    """`FILTERS` filters with `MIN_BUYERS` buyers in the 91 days before a day."""
    from propensity.data.offer import count_buyers

    past, rng = log.before(day), np.random.default_rng(seed)
    weight = np.bincount(past.item[past.item >= 0], minlength=log.items.height) * 1.0
    chosen: dict[str, str] = {}
    for text in candidates(log.items, weight, rng):
        try:
            offers = FilterOffers({text: text}).all(log)
        except Exception:
            continue
        if text not in chosen.values() and count_buyers(past, offers, day, 91)[0] >= MIN_BUYERS:
            chosen[f"filter {len(chosen) + 1:02d}"] = text
        if len(chosen) == FILTERS:
            return chosen
    raise AssertionError


def train(end: str, out: str, with_filters: bool = True, log: str = "data/complete_journey") -> None:
    """A network of the settings of the demo, for two passes over the training cutoffs, without other candidates."""
    from propensity.command import configuration
    from propensity.data.event_log import EventLog, to_day
    from propensity.training.run import train as fit
    from propensity.trust import use_plugins

    use_plugins(["new_filters"])
    config = configuration(
        "train",
        {
            "experiment": "demo", "data.end": end, "out": out, "champion": "network", "data.log": log,
            "training.validation": None, "trainer.max_epochs": 2, "trainer.enable_progress_bar": False,
            "plugins": ["new_filters"],
        },
    )  # fmt: skip
    if with_filters:
        filters = random_filters(EventLog.open(log), to_day("2017-08-21"))
        config.data["offer"] = {
            **config.data["offer"],
            "_target_": "new_filters.CategoriesAndFilters",
            "filters": filters,
        }
    fit(config)


def score(run: str, trained: str, cutoffs: str, log: str, resamples: int = 200) -> None:
    """Prints AUC, differences and expected over observed of 50 filters by a run without and a network with them."""
    from propensity.data.cutoff import Cutoff
    from propensity.data.event_log import EventLog, to_day
    from propensity.feature.features import Features
    from propensity.serving.new_offers import SAMPLE, Market, OfferModel, score_new_offers
    from propensity.serving.offer_definition import named_offers
    from propensity.serving.score_offers import model_of_run
    from propensity.training.checkpoint import load_trained
    from propensity.training.predict import predict
    from propensity.trust import use_plugins

    use_plugins(["new_filters"])
    events, without, with_filters = EventLog.open(log), load_trained(run), load_trained(trained)
    filters = random_filters(events, to_day("2017-08-21"))
    totals: dict[str, list[float]] = {}
    values: dict[str, list[np.ndarray]] = {}
    for date in cutoffs.split(","):
        cutoff = Cutoff(to_day(date), without.task.horizon)
        past = events.before(cutoff.day)
        data = with_filters.task.cutoff_data(events, cutoff, with_filters.vocabulary)
        known = predict(with_filters.model, data)
        names = [name for name in filters if name in known.offer]
        offers = named_offers(events, {name: filters[name] for name in names}, cutoff.day)
        bought = (
            Features(events, offers, without.vocabulary, without.task.feature)
            .outcomes(cutoff, np.searchsorted(events.customer_id, data.customer_id))
            .bought
        )
        scores = {"network, trained with them": known.probability[:, [known.offer.index(name) for name in names]]}
        network = OfferModel(without.task, without.vocabulary, network_scorer(without.model), "network")
        for name, model in {"network": network, "served model": model_of_run(run, without)}.items():
            market = Market(model, past, cutoff, SAMPLE)
            seconds = process_time()
            scores[f"{name}, not trained with them"] = score_new_offers(market, offers)[0]
            each = (process_time() - seconds) / len(names) / market.rows.size * 100_000
            print(f"{date} {name}: {each:.1f} CPU-seconds an offer per 100,000 customers, at {market.rows.size:,}")
        rng = np.random.default_rng(17)
        weight = rng.multinomial(len(bought), np.full(len(bought), 1 / len(bought)), resamples).astype(np.float64)
        for name, score in scores.items():
            auc = np.array([auc_by_resample(score[:, k], bought[:, k], weight) for k in range(len(names))])
            values.setdefault(name, []).append(auc)
            totals.setdefault(name, []).append(float(score.sum(dtype=float) / bought.sum(dtype=float)))
    own = {name: np.nanmean(np.concatenate(each), axis=0) for name, each in values.items()}
    first = next(iter(own.values()))
    for name, auc in own.items():
        low, high = np.percentile((auc - first)[1:], [2.5, 97.5])
        sums = ", ".join(f"{each:.3f}" for each in totals[name])
        print(f"| {name} | {auc[0]:.4f} | {auc[0] - first[0]:+.4f} [{low:+.4f}, {high:+.4f}] | {sums} |")


def network_scorer(model: Any) -> Any:
    """Probability and expected revenue of a network, from inputs by name."""
    import torch

    from propensity.data.batch import Inputs
    from propensity.model.inference import one_thread, to_tensors

    def score(inputs: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        with one_thread(), torch.inference_mode():
            outputs = model.eval()(to_tensors(Inputs(**inputs)))
            return outputs.probability().numpy(), outputs.expected_revenue().numpy()

    return score


def auc_by_resample(score: np.ndarray, bought: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """AUC of all customers and of each resample of them, weight (R, N): (1 + R,)."""
    _, place = np.unique(score, return_inverse=True)
    out = []
    for each in (np.ones(score.size), *weight):
        positive = np.bincount(place, each * (bought > 0))
        negative = np.bincount(place, each * (bought == 0))
        below = np.cumsum(negative) - negative / 2
        total = positive.sum() * negative.sum()
        out.append((positive * below).sum() / total if total > 0 else np.nan)
    return np.array(out)


if __name__ == "__main__":
    import new_filters

    verb, *pairs = sys.argv[1:]
    settings = dict(pair.split("=", 1) for pair in pairs)
    log = settings.get("log", "data/complete_journey")
    if verb == "train":
        new_filters.train(settings["end"], settings["out"], settings.get("filters") != "false", log)
    else:
        new_filters.score(settings["run"], settings["trained"], settings["cutoffs"], log)
