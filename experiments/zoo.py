"""The market zoo: training and evaluation with default settings on fifteen markets, one cutoff each.

    python experiments/zoo.py                      # all markets; those with results are skipped
    python experiments/zoo.py --quick              # the markets of a few CPU-minutes
    python experiments/zoo.py --only cdnow,fashion # these, again
    python experiments/zoo.py --table              # experiments/zoo.md from the results there are

Nothing is tuned: `propensity train` gets the log, the item column of the offers, the end of the labels and a folder.
Cutoffs of real markets lie before the official test dates. Results go to runs/zoo/, the table to experiments/zoo.md.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from zoo_shops import COLUMNS, SHOPS, sales

from propensity.atomic import whole_file

SHARED = Path("../shared/data")
RESULTS, PAGE = Path("runs/zoo"), Path("experiments/zoo.md")
NETWORK, BASELINES = "network", ("popularity", "frequency", "logistic", "lightgbm")
AMOUNT = "LightGBM's amounts"
COMPARED = ("auc", "average_precision", "log_loss", "normalised_revenue_capture")
LOWER = ("log_loss",)
LEVEL = 0.05
MARK = "<!-- zoo: make zoo -->\n"


@dataclass(frozen=True)
class Market:
    """One market: how its log is made, and what a stranger gives to `propensity train`."""

    title: str
    log: str
    offer: str  # item column of the offers
    cutoff: str  # end of the training labels and the cutoff of the evaluation
    prepare: tuple[str, ...]  # settings of `propensity prepare`
    source: str | None = None  # folder of SHARED that must be there
    shop: str | None = None  # name of the shop that is drawn first
    quick: bool = True


def table(path: str, **columns: str) -> tuple[str, ...]:
    """Settings that read one table, by contract column."""
    mapping = (f"data.source.columns.{name}={column}" for name, column in columns.items())
    return ("data/source=table", f"data.source.events={path}", *mapping)


def simulated(customers: int, categories: int) -> tuple[str, ...]:
    """Settings of the package's own simulator: 420 days from 2024-01-01, ten items for each category."""
    sizes = {"customers": customers, "categories": categories, "items": 10 * categories}
    return ("data/source=synthetic", *(f"data.source.{name}={size}" for name, size in sizes.items()))


def made_up(name: str, title: str, cutoff: str, quick: bool = True) -> Market:
    """A shop of `zoo_shops`: its lines are written to a CSV file, which is then read as any table."""
    lines = table(f"data/zoo/{name}.csv", **COLUMNS)
    prepare = (*lines, "data.source.item_columns=[category]")
    return Market(title, f"data/zoo/{name}", "category", cutoff, prepare, shop=name, quick=quick)


MARKETS = {
    "journey_category": Market(
        "Complete Journey, product categories", "data/complete_journey", "product_category", "2017-09-04",
        ("data/source=complete_journey",), quick=False,
    ),
    "journey_type": Market(
        "Complete Journey, product types", "data/complete_journey", "product_type", "2017-09-04",
        ("data/source=complete_journey",), quick=False,
    ),
    "ta_feng": Market(
        "Ta-Feng, product subclasses", "data/ta_feng", "product_subclass", "2001-01-04",
        ("data/source=ta_feng", f"data.source.events={SHARED}/ta_feng/transactions.parquet"), "ta_feng", quick=False,
    ),
    "cdnow": Market(
        "CDNOW, one offer", "data/zoo/cdnow", "item", "1998-06-17",
        table(f"{SHARED}/cdnow/transactions.parquet", customer="customer_id", day="date", item="null",
              quantity="units", revenue="dollars"), "cdnow",
    ),
    "apparel": Market(
        "Apparel (CLVTools), one offer", "data/zoo/apparel", "item", "2010-12-07",
        table(f"{SHARED}/apparel_clvtools/transactions.parquet", customer="Id", day="Date", item="null",
              revenue="Price"), "apparel_clvtools",
    ),
    "grocery": Market(
        "Online grocer (BTYD), one offer, no money", "data/zoo/grocery", "item", "2007-12-17",
        table(f"{SHARED}/btyd_grocery_elog/elog.parquet", customer="cust", day="date", item="null", revenue="null"),
        "btyd_grocery_elog",
    ),
    "olist": Market(
        "Olist sample, product categories", "data/zoo/olist", "product_category_name", "2018-08-01",
        ("data/source=olist", f"data.source.folder={SHARED}/olist_sample"), "olist_sample",
    ),
    "corner": Market(
        "simulator, 500 customers, 12 offers", "data/zoo/corner", "category", "2025-02-10", simulated(500, 12),
    ),
    "hypermarket": Market(
        "simulator, 2,500 customers, 300 offers", "data/zoo/hypermarket", "category", "2025-02-10",
        simulated(2500, 300), quick=False,
    ),
    "fashion": made_up("fashion", "fashion, 2,500 customers, 12 offers, second autumn", "2024-11-03"),
    "subscription": made_up("subscription", "subscriptions, 2,500 customers, 3 offers", "2024-02-12"),
    "furniture": made_up("furniture", "rare expensive goods, 2,500 customers, 12 offers", "2024-12-18"),
    "wholesale": made_up("wholesale", "wholesalers, 500 customers, 12 offers", "2024-02-12"),
    "startup": made_up("startup", "three months of log, 2,500 customers, 12 offers", "2023-03-19"),
    "marketplace": made_up(
        "marketplace", "views, hardly a repeat, 20,000 customers, 12 offers", "2023-12-19", quick=False
    ),
}  # fmt: skip


def commands(name: str, market: Market) -> dict[str, list[str]]:
    """The contract commands of a market by verb, as a stranger types them."""
    run = RESULTS / name
    given = [f"data.log={market.log}", f"data.offer.column={market.offer}", f"data.end={market.cutoff}", f"out={run}"]
    return {
        "prepare": ["prepare", *market.prepare, f"out={market.log}"],
        "train": ["train", *given],
        "evaluate": ["evaluate", f"run={run}", f"cutoffs=[{market.cutoff}]"],
    }


def run_market(name: str, market: Market) -> dict[str, Any]:
    """Run the commands of a market; the record holds CPU-seconds, and the last line of a command that failed."""
    record: dict[str, Any] = {"cpu_seconds": {}, "wall_seconds": {}, "failed": None}
    verbs = commands(name, market)
    if Path(market.log, "meta.json").is_file():
        del verbs["prepare"]
    elif market.shop is not None:
        Path(market.log).parent.mkdir(parents=True, exist_ok=True)
        sales(SHOPS[market.shop]).write_csv(f"{market.log}.csv")
    for verb, words in verbs.items():
        before, began = child_seconds(), time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "propensity.cli", *words], capture_output=True, text=True)
        record["cpu_seconds"][verb] = round(child_seconds() - before, 1)
        record["wall_seconds"][verb] = round(time.perf_counter() - began, 1)
        (RESULTS / f"{name}.{verb}.txt").write_text(done.stdout + done.stderr)
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
            return record | {"failed": {"verb": verb, "exit_code": done.returncode, "message": last}}
    return record | further_comparisons(RESULTS / name, market.cutoff)


def child_seconds() -> float:
    """CPU-seconds of all finished child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def load(name: str) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Record and metrics of a market, the further comparisons among them; None where there are none."""
    files = RESULTS / f"{name}.json", RESULTS / name / "metrics.json"
    record, metrics = (json.loads(file.read_text()) if file.is_file() else None for file in files)
    if record is None or metrics is None:
        return record, None
    return record, metrics | {"network_differences": record.get("network"), "amount": record.get("amount")}


def served(metrics: Mapping[str, Any]) -> str:
    """The model of a run that is compared with all others: its champion, or the network."""
    return next(name for name in metrics["models"] if name not in metrics["differences"])


def champion(metrics: Mapping[str, Any]) -> str:
    """Name of the candidate that the run serves; the network where a run names no champion."""
    entry = metrics.get("champion")
    return NETWORK if entry is None else str(entry["name"])


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values. Source: Holm, Scandinavian Journal of Statistics 1979.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def p_value(cell: Mapping[str, Any]) -> float:
    """Two-sided normal p-value of a difference, whose standard error is its minimum detectable effect over 2.8."""
    error = (cell.get("minimum_detectable_effect") or 0.0) / 2.8
    if error == 0.0:
        return 1.0 if not cell["value"] else 0.0
    return math.erfc(abs(cell["value"]) / error / math.sqrt(2))


def references(metrics: Mapping[str, Any]) -> list[str]:
    """The models that are compared with all others: the one that is served, and the network."""
    first = served(metrics)
    return [first] if first == NETWORK else [first, NETWORK]


def further_comparisons(run: Path, cutoff: str) -> dict[str, Any]:
    """Differences that `propensity evaluate` does not compute, from the tables of scores of a run.

    `network` holds the network minus each other model, where another model is served. `amount` is the normalised
    revenue capture of the served model minus that of its probabilities times LightGBM's expected amounts.
    """
    from propensity.evaluation.evaluate import cutoff_data_of
    from propensity.evaluation.labels import labels
    from propensity.evaluation.predictor import match_scores
    from propensity.metric.evaluation import evaluate
    from propensity.metric.labels import Prediction
    from propensity.scores import load_scores
    from propensity.training.checkpoint import load_trained

    metrics, trained = json.loads((run / "metrics.json").read_text()), load_trained(run)
    first, log = served(metrics), trained.task.open()
    cutoff_data = cutoff_data_of(trained, log, cutoff)
    truth, settings, predictions = [labels(log, cutoff_data)], metrics["run"]["evaluation"], {}
    for name in metrics["models"]:
        file = run / ("scores.parquet" if name == first else f"{name}.parquet")
        (scores,) = match_scores(load_scores(file, name), [cutoff_data])
        predictions[name] = Prediction(scores.probability, scores.revenue, scores.mask)
    ours, trees = predictions[first], predictions["lightgbm"]
    amount = trees.revenue / np.maximum(trees.probability, 1e-12)
    mixed = {first: [ours], AMOUNT: [Prediction(ours.probability, ours.probability * amount)]}
    result = evaluate(truth, mixed, reference=first, **settings)
    further = {"amount": result["differences"][AMOUNT]["mean"]["all"]["normalised_revenue_capture"]}
    if first != NETWORK:
        lists = {name: [prediction] for name, prediction in predictions.items()}
        tables = evaluate(truth, lists, reference=NETWORK, **settings)["differences"]
        further["network"] = {
            name: {"mean": {"all": {metric: table["mean"]["all"][metric] for metric in COMPARED}}}
            for name, table in tables.items()
        }
    return further


def differences(tables: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """(baseline, metric) -> difference with its interval and the p-value by Holm within the market."""
    cells = {
        (other, metric): dict(by_cutoff["mean"]["all"][metric])
        for other, by_cutoff in tables.items()
        for metric in COMPARED
        if by_cutoff["mean"]["all"][metric]["low"] is not None
    }
    for cell, adjusted in zip(cells.values(), holm([p_value(cell) for cell in cells.values()]), strict=True):
        cell["holm"] = adjusted
    return cells


def losses(metrics: Mapping[str, Any], reference: str) -> list[str]:
    """Sentences: differences against a baseline that are significant by Holm and exceed .002 AUC or 1 % of log loss."""
    sentences = []
    for (other, metric), cell in differences(tables_of(metrics, reference)).items():
        worse = cell["value"] if metric in LOWER else -cell["value"]
        limit = {"auc": 0.002, "log_loss": 0.01 * (value(metrics, other, "all", "log_loss") or 0.0)}.get(metric)
        if other in BASELINES and limit is not None and cell["holm"] < LEVEL and worse > limit:
            digits = 5 if metric in LOWER else 4
            sentences.append(f"{reference} minus {other}, {metric}: {interval(cell, digits, signed=True)}")
    return sentences


def tables_of(metrics: Mapping[str, Any], reference: str) -> dict[str, Any]:
    """Differences of one of `references`."""
    tables: dict[str, Any] = metrics["differences" if reference == served(metrics) else "network_differences"]
    return tables


def regret(metrics: Mapping[str, Any], metric: str = "auc") -> float | None:
    """How far the champion lies behind the best model of the market; 0 where it is the best."""
    values = {name: value(metrics, name, "all", metric) for name in metrics["models"]}
    known = [each for each in values.values() if each is not None]
    mine = values[served(metrics)]
    if mine is None:
        return None
    return mine - min(known) if metric in LOWER else max(known) - mine


def value(metrics: Mapping[str, Any], model: str, part: str, metric: str) -> float | None:
    """Mean over the cutoffs of a metric in a slice."""
    cell = cell_of(metrics, model, part, metric)
    return None if cell is None else cell["value"]


def cell_of(metrics: Mapping[str, Any], model: str, part: str, metric: str) -> dict[str, Any] | None:
    cell: dict[str, Any] | None = metrics["models"][model]["mean"].get(part, {}).get(metric)
    return cell


def interval(cell: Mapping[str, Any] | None, digits: int = 4, signed: bool = False) -> str:
    """Value with its interval, such as `.8123 [.8011, .8240]`."""
    if cell is None or cell["value"] is None:
        return "-"
    text = number(cell["value"], digits, signed)
    if cell["low"] is None:
        return text
    return f"{text} [{number(cell['low'], digits, signed)}, {number(cell['high'], digits, signed)}]"


def number(quantity: float | None, digits: int = 4, signed: bool = False) -> str:
    if quantity is None:
        return "-"
    text = f"{quantity:{'+' if signed else ''}.{digits}f}"
    return text.replace("0.", ".", 1) if abs(quantity) < 1 else text


MODEL_COLUMNS = (
    ("AUC", "all", "auc"),
    ("AP", "all", "average_precision"),
    ("log loss", "all", "log_loss"),
    ("normalised revenue capture", "all", "normalised_revenue_capture"),
    ("AUC, never-bought", "never-bought", "auc"),
    ("AUC, dormant", "dormant", "auc"),
)


def models_table(metrics: Mapping[str, Any]) -> Iterator[str]:
    """One row for each model."""
    titles = [title for title, _, _ in MODEL_COLUMNS] + ["expected / observed purchases", "expected / observed revenue"]
    yield "| model | " + " | ".join(titles) + " |\n|---|" + "---:|" * len(titles)
    for name in metrics["models"]:
        cells = [number(value(metrics, name, part, metric)) for _, part, metric in MODEL_COLUMNS]
        for metric in ("expected_over_observed", "expected_over_observed_revenue"):
            cells.append(interval(cell_of(metrics, name, "all", metric), 2))
        yield f"| {titled(metrics, name)} | " + " | ".join(cells) + " |"


def titled(metrics: Mapping[str, Any], name: str) -> str:
    """Name of a model; of the served one, with the candidate that it is."""
    return f"**{name}** ({champion(metrics)})" if name == served(metrics) else name


def differences_table(metrics: Mapping[str, Any], reference: str) -> Iterator[str]:
    """One row for each other model: the reference minus it; stars mark p < .05 by Holm within the market."""
    tables = tables_of(metrics, reference)
    cells = differences(tables)
    yield f"| {reference} minus | AUC | AP | log loss | normalised revenue capture |\n|---|---:|---:|---:|---:|"
    for other in tables:
        texts = []
        for metric in COMPARED:
            cell = cells.get((other, metric))
            star = " *" if cell is not None and cell["holm"] < LEVEL else ""
            texts.append(interval(cell, 5 if metric in LOWER else 4, signed=True) + star)
        yield f"| {other} | " + " | ".join(texts) + " |"


def summary_table() -> Iterator[str]:
    """One row for each market."""
    yield (
        "| market | champion | AUC | AUC of the best baseline | regret of the champion, AUC | log loss | log loss "
        "of the best baseline | losses beyond the limit, served model and network | expected / observed purchases | "
        "expected / observed revenue | CPU-seconds |"
    )
    yield "|---|---|" + "---:|" * 9
    for name, market in MARKETS.items():
        record, metrics = load(name)
        if record is None:
            continue
        seconds = round(sum(record["cpu_seconds"].values()))
        if metrics is None or record["failed"]:
            yield f"| {market.title} | failed: {record['failed']['message']} |" + " - |" * 8 + f" {seconds} |"
            continue
        best = served(metrics)
        lost = ", ".join(str(len(losses(metrics, reference))) for reference in references(metrics))
        auc, loss = best_baseline(metrics, "auc"), best_baseline(metrics, "log_loss")
        yield (
            f"| {market.title} | {champion(metrics)} | {number(value(metrics, best, 'all', 'auc'))} | {auc} | "
            f"{number(regret(metrics))} | {number(value(metrics, best, 'all', 'log_loss'), 5)} | {loss} | {lost} | "
            f"{interval(cell_of(metrics, best, 'all', 'expected_over_observed'), 2)} | "
            f"{interval(cell_of(metrics, best, 'all', 'expected_over_observed_revenue'), 2)} | {seconds} |"
        )


def best_baseline(metrics: Mapping[str, Any], metric: str) -> str:
    """The best value of a metric among the baselines, with its name."""
    values = {name: value(metrics, name, "all", metric) for name in metrics["models"] if name in BASELINES}
    known = {name: each for name, each in values.items() if each is not None}
    if not known:
        return "-"
    name = (min if metric in LOWER else max)(known, key=known.__getitem__)
    return f"{number(known[name], 5 if metric in LOWER else 4)} ({name})"


def section(name: str, market: Market) -> Iterator[str]:
    """The commands, counts and tables of one market."""
    record, metrics = load(name)
    if record is None:
        return
    yield f"### {market.title}\n"
    yield "```"
    yield from ("propensity " + " ".join(quoted(word) for word in words) for words in commands(name, market).values())
    yield "```\n"
    if metrics is None or record["failed"]:
        failed = record["failed"]
        yield f"`propensity {failed['verb']}` ended with exit code {failed['exit_code']}: {failed['message']}\n"
        return
    count = metrics["counts"][market.cutoff]
    cost = ", ".join(f"{verb} {seconds:.0f}" for verb, seconds in record["cpu_seconds"].items())
    yield (
        f"{count['customers']:,} customers, {count['offers']} offers, {count['positives']:,} purchases of an offer in "
        f"the horizon, revenue {count['revenue']:,.0f}; CPU-seconds: {cost}.\n"
    )
    yield from models_table(metrics)
    yield ""
    for reference in references(metrics):
        yield from differences_table(metrics, reference)
        yield ""
    yield f"Normalised revenue capture minus that of the same probabilities times {AMOUNT}: " + (
        interval(metrics["amount"], signed=True) + "\n"
    )
    for sentence in (each for reference in references(metrics) for each in losses(metrics, reference)):
        yield f"- loss beyond the limit: {sentence}"
    for sentence in metrics["warnings"]:
        yield f"- warning: {sentence}"
    yield ""


def quoted(word: str) -> str:
    return f"'{word}'" if "[" in word or "*" in word else word


def write_page() -> None:
    """Rewrite everything below the mark of experiments/zoo.md."""
    head = PAGE.read_text().partition(MARK)[0]
    markets = [line for name, market in MARKETS.items() for line in section(name, market)]
    with whole_file(PAGE) as draft:
        draft.write_text(head + MARK + "\n".join([*summary_table(), "", *markets]).rstrip() + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Runs the market zoo and writes experiments/zoo.md.")
    parser.add_argument("--quick", action="store_true", help="only the markets of a few CPU-minutes")
    parser.add_argument("--only", default="", help="names, separated by commas; these run again")
    parser.add_argument("--table", action="store_true", help="write the page from the results there are")
    options = parser.parse_args(arguments)
    only = [name for name in options.only.split(",") if name]
    if unknown := [name for name in only if name not in MARKETS]:
        parser.error(f"no market {unknown[0]}; choose from: {', '.join(MARKETS)}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name, market in MARKETS.items():
        if options.table or (only and name not in only) or (options.quick and not market.quick):
            continue
        if market.source is not None and not (SHARED / market.source).is_dir():
            print(f"{name}: skipped, {SHARED / market.source} is not there")
            continue
        stored = load(name)[0]
        if stored is not None and not stored["failed"] and not only:
            print(f"{name}: has results")
            continue
        print(f"{name}: {market.title}", flush=True)
        record = run_market(name, market)
        with whole_file(RESULTS / f"{name}.json") as draft:
            draft.write_text(json.dumps(record, indent=1))
        print(f"{name}: {record['failed'] or record['cpu_seconds']}", flush=True)
    write_page()


if __name__ == "__main__":
    main()
