"""What does revenue lift lose when rows arrive spoilt, and is every spoilt row found?

Each corruption is dealt to a share of the purchases of an eighth of the households of Complete Journey, delivered as
text under other names. A network of few steps is trained on what the rules leave, and judged by what really happened:
the clean log. Differences are paired, over draws of customers.

    python experiments/dirty_data.py experiment=dirty_data out=runs/dirty_data
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from hydra.utils import instantiate

from propensity.atomic import whole_file
from propensity.command import entry
from propensity.config import CompareConfig

RATES = (0.01, 0.05, 0.2)
COLUMNS = {"customer": "who", "day": "when", "item": "sku", "quantity": "units", "revenue": "paid", "order": "receipt",
           "event_id": "line"}  # fmt: skip
HOUSEHOLDS = 8  # one in so many is kept


class Spoil(NamedTuple):
    """Where a rule puts a spoilt row, and what was done to a cell of it; without a column the row comes twice."""

    place: str
    column: str | None
    cell: str | None = None


SPOILS = {
    "customer_missing": Spoil("quarantined", "who", ""),
    "day_unreadable": Spoil("quarantined", "when", "31 Feb 2017"),
    "item_missing": Spoil("quarantined", "sku", "NULL"),
    "revenue_unreadable": Spoil("quarantined", "paid", "inf"),
    "line_in_bulk": Spoil("quarantined", "units", "100001"),
    "event_again": Spoil("merged", None),
    "price_zero": Spoil("warnings", "paid", "0"),
}


def purchases() -> tuple[pl.DataFrame, pl.DataFrame]:
    """The purchases of an eighth of the households, as text under other names, and the table of products."""
    from propensity.ingest.source.complete_journey import CompleteJourney

    tables = CompleteJourney().load()
    assert tables.items is not None
    bought = tables.events.filter(pl.col("kind") == "purchase", pl.col("customer").cast(pl.Int64) % HOUSEHOLDS == 0)
    named = bought.select(
        who="customer", when="day", sku="item", units="quantity", paid="revenue", receipt="order"
    ).with_row_index("line")
    return named.select(pl.all().cast(pl.String)).collect(), tables.items.collect()


def spoilt(rows: pl.DataFrame, code: str, rate: float, seed: int) -> tuple[pl.DataFrame, int]:
    """The rows with a share of them spoilt, and how many those are."""
    spoil, count = SPOILS[code], round(rate * rows.height)
    chosen = np.zeros(rows.height, bool)
    chosen[np.random.default_rng(seed).choice(rows.height, count, replace=False)] = True
    if spoil.column is None:
        return pl.concat([rows, rows.filter(pl.Series(chosen))]), count
    cell = pl.when(pl.Series(chosen)).then(pl.lit(spoil.cell)).otherwise(pl.col(spoil.column))
    return rows.with_columns(cell.alias(spoil.column)), count


def prepared(rows: pl.DataFrame, folder: Path, items: Path) -> Any:
    """The log of a delivery."""
    from propensity.ingest.build import prepare
    from propensity.ingest.source.table import Table

    folder.mkdir(parents=True, exist_ok=True)
    rows.write_csv(folder / "sales.csv")
    rules: dict[str, Any] = {"most_units": 100_000.0, "guests": "quarantine"}
    return prepare(
        Table(str(folder / "sales.csv"), dict(COLUMNS), items=str(items), item_key="item", **rules), folder / "log"
    )


def found(log: Any, code: str) -> int:
    """Rows that a rule found."""
    place = SPOILS[code].place
    counts = log.meta["warnings"] if place == "warnings" else log.meta["rows"][place]
    return int(counts.get(code, 0))


def scored(cfg: CompareConfig, log: Any, out: Path) -> tuple[dict[str, list[Any]], list[Any]]:
    """A network of few steps and personal frequency on a log, asked at the cutoffs: scores, and the occasions."""
    import lightning.pytorch as lightning

    from propensity.baseline.frequency import Frequency
    from propensity.data.cutoff import cutoff_of
    from propensity.training.fit import fit
    from propensity.training.predict import predict

    lightning.seed_everything(cfg.seed, verbose=False)
    task = instantiate(cfg.data, _convert_="all")
    task.end = cfg.cutoffs[0]
    training_set = task.training_set(log)
    model = instantiate(cfg.model, sizes=task.feature.sizes(training_set.vocabulary))
    data = instantiate(cfg.training, _convert_="all").data_module(training_set, task, cfg.seed)
    model.fit_scales(data.sample())
    fit(model, instantiate(cfg.loss), data, cfg, out)
    days = [cutoff_of(log, day, task.horizon) for day in cfg.cutoffs]
    cutoffs_data = [task.cutoff_data(log, day, training_set.vocabulary) for day in days]
    frequency = Frequency()
    frequency.fit(training_set, cfg.seed)
    network = [predict(model.eval(), cutoff_data) for cutoff_data in cutoffs_data]
    return {
        "network": network,
        "frequency": [frequency.predict(cutoff_data) for cutoff_data in cutoffs_data],
    }, cutoffs_data


def predictions(scores: list[Any], all_labels: list[Any]) -> list[Any]:
    """Scores of the truths' customers and offers; who is not scored comes last."""
    from propensity.metric.labels import Prediction
    from propensity.scores import aligned

    made = [
        aligned(each, labels.customer, labels.offer.tolist()) for each, labels in zip(scores, all_labels, strict=True)
    ]
    return [Prediction(each.probability, each.revenue, each.mask) for each in made]


@entry("compare")
def main(cfg: CompareConfig) -> None:
    from propensity.evaluation.evaluate import labels
    from propensity.metric.evaluation import evaluate
    from propensity.report.table import say

    out, (rows, items) = Path(cfg.out), purchases()
    out.mkdir(parents=True, exist_ok=True)
    items.write_parquet(out / "items.parquet")
    clean = prepared(rows, out / "clean", out / "items.parquet")
    scores, cutoffs_data = scored(cfg, clean, out / "clean")
    all_labels = [labels(clean, cutoff_data) for cutoff_data in cutoffs_data]
    answers = {model: {"clean": predictions(each, all_labels)} for model, each in scores.items()}
    known = {clean.fingerprint: scores}  # rows that are lost alike leave the same log
    counts: dict[str, tuple[int, int]] = {}
    for code in SPOILS:
        before = found(clean, code)
        for rate in RATES:
            delivery, injected = spoilt(rows, code, rate, cfg.seed)
            log = prepared(delivery, out / "spoilt", out / "items.parquet")
            name = f"{code} {rate:.0%}"
            counts[name] = injected, found(log, code) - before
            if log.fingerprint not in known:
                known[log.fingerprint] = scored(cfg, log, out / "spoilt")[0]
            for model, each in known[log.fingerprint].items():
                answers[model][name] = predictions(each, all_labels)
            say(f"{name}: {counts[name][1]:,} of {injected:,} spoilt rows found")
    metrics = {
        model: evaluate(all_labels, each, reference="clean", resamples=cfg.resamples, seed=cfg.seed)
        for model, each in answers.items()
    }
    table = tabled(metrics, counts, rows.height)
    with whole_file(out / "table.md") as draft:
        draft.write_text(table)
    with whole_file(out / "table.json") as draft:
        found_all = {model: each["differences"] for model, each in metrics.items()}
        draft.write_text(json.dumps({"counts": counts, "differences": found_all}, indent=1))
    print(table)


def change(metrics: dict[str, Any], name: str) -> str:
    """Revenue lift of a spoilt delivery minus that of the clean one, with its interval."""
    cell = metrics["differences"][name]["mean"]["all"]["revenue_lift"]
    return f"{-cell['value']:+.3f} [{-cell['high']:+.3f}, {-cell['low']:+.3f}]"


def tabled(metrics: dict[str, Any], counts: dict[str, tuple[int, int]], rows: int) -> str:
    """Markdown: a line for each corruption and share."""
    base = {m: each["models"]["clean"]["mean"]["all"]["revenue_lift"]["value"] for m, each in metrics.items()}
    lines = [f"{rows:,} rows; revenue lift of the clean log: " + ", ".join(f"{m} {v:.3f}" for m, v in base.items()), ""]
    lines += ["| rule and share of the rows | injected | found | " + " | ".join(metrics) + " |"]
    lines += ["|---|---:|---:|" + "---|" * len(metrics)]
    for name, (injected, seen) in counts.items():
        bands = " | ".join(change(each, name) for each in metrics.values())
        lines.append(f"| {name} | {injected:,} | {seen:,} | {bands} |")
    wrong = [name for name, (injected, seen) in counts.items() if injected != seen]
    lines += ["", f"counts that differ: {', '.join(wrong) or 'none'}", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
