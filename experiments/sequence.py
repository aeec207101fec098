"""Encoders, pretraining, history length and time encodings on four markets: python experiments/sequence.py

    PYTHONPATH=experiments python experiments/sequence.py          # runs that have no result yet, one after another
    PYTHONPATH=experiments python experiments/sequence.py --only=order,delay
    PYTHONPATH=experiments python experiments/sequence.py --table  # tables of experiments/sequence.md

Every run is one training of 600 steps (400 on real markets) with one seed. Results go to runs/sequence/: probabilities,
CPU-seconds and parameters of a run. All cutoffs of the real markets, and the ends of their labels, lie before the
official test dates.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from results import difference
from sequence_market import complete_journey, delays, ta_feng
from zoo import holm, p_value

import propensity.command  # noqa: F401  (registers the schemas)
from propensity.atomic import whole_file
from propensity.champion.champion import NETWORK
from propensity.cli import main as cli
from propensity.config import conf_folder
from propensity.data.cutoff import parse_cutoff
from propensity.evaluation.labels import labels
from propensity.metric.evaluation import evaluate
from propensity.metric.labels import Labels, Prediction
from propensity.pretrain.run import pretrain
from propensity.training.predict import predict
from propensity.training.run import train

RESULTS, LOGS, PAGE = Path("runs/sequence"), Path("data/sequence"), Path("experiments/sequence.md")
BEGIN, END = "<!-- sequence: python experiments/sequence.py --table -->\n", "<!-- /sequence -->"
RESAMPLES = 400
METRICS = (
    ("all", "auc"),
    ("never-bought", "auc"),
    ("lapsed", "auc"),
    ("all", "average_precision"),
    ("all", "log_loss"),
)


@dataclass(frozen=True)
class Market:
    """A market: how its log is made, and where training ends and evaluation begins."""

    title: str
    prepare: tuple[str, ...]  # settings of `propensity prepare`
    settings: tuple[str, ...]  # of all trainings
    end: str  # of training labels, and of the events of pretraining
    cutoffs: tuple[str, ...]
    draw: Callable[[Path], None] | None = None  # writes the files that are prepared


MADE_UP_LENGTH = ("training.pairs_per_batch=1536", "trainer.max_steps=600")
REAL_LENGTH = ("training.pairs_per_batch=4096", "trainer.max_steps=400")
MARKETS = {
    "order": Market(
        "simulator, 1,500 customers, 6 categories: three are ten times as likely at the visit after their trigger",
        ("data/source=synthetic", "data.source.customers=1500", "data.source.categories=6", "data.source.days=420",
         "data.source.order_effect=9.0", "data.source.items=60"),
        ("data.horizon=7", "data.offer.column=category", "data.offer.min_buyers=20", *MADE_UP_LENGTH),
        "2025-01-13", ("2025-01-13", "2025-01-27"),
    ),
    "delay": Market(
        "1,500 customers, 6 categories: three are bought 19 to 23 days after their trigger",
        ("data/source=table", f"data.source.events={LOGS}/delay.parquet", "data.source.item_columns=[category]",
         *(f"data.source.columns.{each}={each}" for each in ("customer", "day", "item", "revenue"))),
        ("data.horizon=7", "data.offer.column=category", "data.offer.min_buyers=20", *MADE_UP_LENGTH),
        "2024-12-02", ("2024-12-02", "2024-12-16"), delays,
    ),
    "ta_feng": Market(
        "Ta-Feng, product subclasses, 3,000 customers by a hash of their ids",
        ("data/source=ta_feng", f"data.source.events={LOGS}/ta_feng.parquet"),
        ("data.horizon=14", "data.offer.column=product_subclass", "data.offer.window=400", "data.offer.prefix=4",
         "data.offer.min_buyers=60", *REAL_LENGTH),
        "2001-01-04", ("2001-01-04",), ta_feng,
    ),
    "journey": Market(
        "Complete Journey, product categories, 800 households by a hash of their ids",
        ("data/source=complete_journey", "data.source.not_products=[]", f"data.source.path={LOGS}/complete_journey"),
        ("data.horizon=14", "data.offer.column=product_category", "data.offer.min_buyers=80", *REAL_LENGTH),
        "2017-09-04", ("2017-09-04", "2017-09-18"), complete_journey,
    ),
}  # fmt: skip
# of all trainings; those of causal encoders read a history once for several cutoffs
COMMON = ("data.cutoff.count=16", "data.feature.history=64", "training.validation=null")
CAUSAL = ("training.cutoffs_per_batch=8",)
HSTU, LINEAR, FILTERS = "model/encoder=hstu", "model/encoder=linear_recurrence", "model/encoder=time_filters"


class Variant(NamedTuple):
    """Settings of a training, and of the pretraining that it starts from."""

    settings: tuple[str, ...]
    pretrained: tuple[str, ...] | None = None
    markets: tuple[str, ...] = ("order", "delay", "ta_feng", "journey")


MADE_UP, REAL = ("order", "delay"), ("ta_feng", "journey")
VARIANTS = {  # in the order of the runs
    "none": Variant(("model/encoder=none",)),
    "mean_pool": Variant(("model/encoder=mean_pool",)),
    "hstu": Variant((HSTU, *CAUSAL)),
    "time_filters": Variant((FILTERS, *CAUSAL)),
    "time_filters, values": Variant((FILTERS, *CAUSAL, "model.encoder.tokens=values")),
    "linear_recurrence": Variant((LINEAR, *CAUSAL)),
    "hstu pretrained": Variant((HSTU, *CAUSAL), (HSTU,)),
    "gru": Variant(("model/encoder=gru",)),
    "hstu, no time": Variant((HSTU, *CAUSAL, "model.encoder.time=none"), markets=MADE_UP),
    "hstu pretrained, frozen": Variant((HSTU, *CAUSAL, "frozen=true"), (HSTU,), REAL),
    "time_filters pretrained": Variant((FILTERS, *CAUSAL), (FILTERS,), ("delay", "journey")),
    "hstu, 16 events": Variant((HSTU, *CAUSAL, "data.feature.history=16")),
    "hstu, rotary": Variant((HSTU, *CAUSAL, "model.encoder.time=rotary"), markets=("order", "delay", "journey")),
    "transformer": Variant(("model/encoder=transformer",)),
    "hstu, fourier": Variant((HSTU, *CAUSAL, "model.encoder.time=fourier")),
    "hstu, against learning by heart": Variant(
        (HSTU, *CAUSAL, "model.event_dropout=0.1", "model.basket_dropout=0.1", "model.closed_gate=true")
    ),
    "hstu, baskets": Variant((HSTU, *CAUSAL, "model.encoder.tokens=baskets")),
    "hstu, 256 events": Variant((HSTU, *CAUSAL, "data.feature.history=256")),
    "linear_recurrence, time in events": Variant((LINEAR, *CAUSAL, "model.encoder.time=events")),
}
OF_TIME_FILTERS = "time_filters, values"  # an encoder of its own


def compared(variant: str) -> str | None:
    """What a variant is compared with: no encoder, or the same encoder without its change."""
    if variant == "none":
        return None
    if "pretrained" not in variant and ("," not in variant or variant == OF_TIME_FILTERS):
        return "none"
    return variant.replace(" pretrained", ",").split(",")[0]


def market_log(name: str, market: Market) -> Path:
    """The log of a market, which is made where it is missing."""
    log = LOGS / name
    if not (log / "meta.json").is_file():
        LOGS.mkdir(parents=True, exist_ok=True)
        if market.draw is not None:
            market.draw(LOGS)
        cli(["prepare", *market.prepare, f"out={log}"])
    return log


def composed(verb: str, *settings: str) -> Any:
    """The configuration of a command."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return OmegaConf.to_object(compose(verb, overrides=list(settings)))


def place(name: str, variant: str) -> Path:
    """The folder of a run, without its results."""
    return RESULTS / name / variant.replace(", ", "-").replace(" ", "_")


def run(name: str, variant: str) -> None:
    """Trains a variant, and keeps its probabilities and what it took."""
    market, chosen, folder = MARKETS[name], VARIANTS[variant], place(name, variant)
    log = market_log(name, market)
    given = (f"data.log={log}", *market.settings)
    settings, seconds = (*given, *COMMON, *chosen.settings), {}
    if chosen.pretrained is not None:
        first = folder.with_name(f"{folder.name}.pretrained")
        start = time.process_time()
        words = ("data.feature.history=64", f"data.end={market.end}", "steps=400", f"out={first}")
        pretrain(composed("pretrain", *given, *chosen.pretrained, *words, "trainer.enable_progress_bar=false"))
        seconds["pretrain"] = time.process_time() - start
        settings = (*settings, f"pretrained={first}")
    start = time.process_time()
    own = (f"data.end={market.end}", f"champion={NETWORK}", "trainer.enable_progress_bar=false", f"out={folder}")
    model, task, training_set, events = train(composed("train", *settings, *own))
    seconds["train"] = time.process_time() - start
    arrays: dict[str, np.ndarray] = {}
    for day in market.cutoffs:
        data = task.cutoff_data(events, parse_cutoff(events, day, task.horizon), training_set.vocabulary)
        scores, truth = predict(model, data), labels(events, data)
        arrays |= {f"{day} probability": scores.probability, f"{day} revenue": scores.revenue}
        arrays |= {f"{day} bought": truth.bought, f"{day} spent": truth.revenue}
        arrays |= {f"{day} customer": truth.customer.astype(str), f"{day} offer": truth.offer.astype(str)}
        arrays |= {f"{day} in {each}": rows for each, rows in truth.slices.items()}
    about = {
        "cpu_seconds": {stage: round(value, 1) for stage, value in seconds.items()},
        "parameters": sum(each.numel() for each in model.parameters()),
    }
    with whole_file(folder.with_suffix(".npz")) as draft, draft.open("wb") as file:
        np.savez_compressed(file, **arrays)
    with whole_file(folder.with_suffix(".json")) as draft:
        draft.write_text(json.dumps(about))
    shutil.rmtree(folder)


def loaded(name: str, market: Market) -> tuple[list[Labels], dict[str, list[Prediction]], dict[str, dict[str, Any]]]:
    """Outcomes of a market, and by variant its predictions and what they took, of the runs with a result."""
    truth: list[Labels] = []
    predictions, about = {}, {}
    for variant in VARIANTS:
        if not place(name, variant).with_suffix(".json").is_file():
            continue
        about[variant] = json.loads(place(name, variant).with_suffix(".json").read_text())
        with np.load(place(name, variant).with_suffix(".npz")) as file:
            arrays = dict(file)
        predictions[variant] = [Prediction(arrays[f"{d} probability"], arrays[f"{d} revenue"]) for d in market.cutoffs]
        truth = truth or [
            Labels(
                *(day, arrays[f"{day} customer"], arrays[f"{day} offer"]),
                *(arrays[f"{day} bought"], arrays[f"{day} spent"]),
                {key.removeprefix(f"{day} in "): rows for key, rows in arrays.items() if key.startswith(f"{day} in ")},
            )
            for day in market.cutoffs
        ]
    return truth, predictions, about


def section(name: str, market: Market) -> Iterator[str]:
    """A market: every variant, and what it is better or worse than."""
    truth, predictions, about = loaded(name, market)
    if not predictions:
        return
    customers, offers = truth[0].bought.shape
    yield f"### {market.title}\n\n{', '.join(market.cutoffs)}; {customers:,} customers, {offers} offers\n"
    yield "| model | parameters | CPU-s | AUC | minus | AUC | never-bought | lapsed | average precision | log loss |"
    yield "|---|---:|---:|---:|---|---:|---:|---:|---:|---:|"
    for variant in predictions:
        other = compared(variant)
        pair = {each: predictions[each] for each in (variant, other) if each in predictions}
        metrics = evaluate(truth, pair, reference=variant, resamples=RESAMPLES)
        value = metrics["models"][variant]["mean"]["all"]["auc"]["value"]
        seconds = " + ".join(f"{each:.0f}" for each in about[variant]["cpu_seconds"].values())
        cells = (
            [difference(metrics["differences"][other]["mean"][part][metric]) for part, metric in METRICS]
            if (other in pair)
            else [""] * len(METRICS)
        )
        first = f"| {variant} | {about[variant]['parameters']:,} | {seconds} | {value:.4f} | {other or ''} |"
        yield f"{first} {' | '.join(cells)} |"
    yield ""


def harm() -> Iterator[str]:
    """The default encoder against none on all markets, with p-values by Holm."""
    cells = {}
    for name, market in MARKETS.items():
        truth, predictions, _ = loaded(name, market)
        if {"none", "mean_pool"} <= predictions.keys():
            pair = {each: predictions[each] for each in ("mean_pool", "none")}
            found = evaluate(truth, pair, reference="mean_pool", resamples=RESAMPLES)["differences"]["none"]["mean"][
                "all"
            ]
            cells |= {f"{name}, {metric}": found[metric] for metric in ("auc", "average_precision", "log_loss")}
    yield "### The default encoder (mean pooling) minus none, p-values by Holm over all rows\n"
    yield "| market, metric | difference | p |\n|---|---:|---:|"
    adjusted = holm([p_value(cell) for cell in cells.values()])
    for (label, cell), p in zip(cells.items(), adjusted, strict=True):
        yield f"| {label} | {difference(cell)} | {p:.3f} |"
    yield ""


def write_page() -> None:
    """Rewrites the tables of the page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    lines = [line for name, market in MARKETS.items() for line in section(name, market)]
    with whole_file(PAGE) as draft:
        draft.write_text(before + BEGIN + "\n".join([*lines, *harm()]) + END + rest.partition(END)[2])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="experiments/sequence.py", description=__doc__)
    parser.add_argument("--only", default=",".join(MARKETS), help="markets, separated by commas")
    parser.add_argument("--table", action="store_true", help="write the page")
    chosen = parser.parse_args(arguments)
    if chosen.table:
        write_page()
        return
    for variant in VARIANTS:
        for name in chosen.only.split(","):
            if name in VARIANTS[variant].markets and not place(name, variant).with_suffix(".json").is_file():
                print(f"{name}: {variant}", flush=True)
                run(name, variant)


if __name__ == "__main__":
    main()
