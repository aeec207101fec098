"""What does revenue lift lose when rows are corrupted, and is every corrupted row found?

Each corruption is applied to a share of the purchases of an eighth of the households of Complete Journey, delivered as
text under other names. A network of few steps is trained on the rows that the rules accept and evaluated on the labels
of the clean log. Intervals come from a paired bootstrap over customers.

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


class Corruption(NamedTuple):
    """fate: where the rule counts such a row; cell overwrites `column`; without a column the row is repeated."""

    fate: str
    column: str | None
    cell: str | None = None


CORRUPTIONS = {
    "customer_missing": Corruption("quarantined", "who", ""),
    "day_unreadable": Corruption("quarantined", "when", "31 Feb 2017"),
    "item_missing": Corruption("quarantined", "sku", "NULL"),
    "revenue_unreadable": Corruption("quarantined", "paid", "inf"),
    "line_in_bulk": Corruption("quarantined", "units", "100001"),
    "event_again": Corruption("merged", None),
    "price_zero": Corruption("warnings", "paid", "0"),
}


def purchases_as_text() -> tuple[pl.DataFrame, pl.DataFrame]:
    """The purchases of an eighth of the households, as text under other names, and the table of products."""
    from propensity.ingest.source.complete_journey import CompleteJourney

    tables = CompleteJourney().load()
    assert tables.items is not None
    purchases = tables.events.filter(pl.col("kind") == "purchase", pl.col("customer").cast(pl.Int64) % HOUSEHOLDS == 0)
    renamed = purchases.select(
        who="customer", when="day", sku="item", units="quantity", paid="revenue", receipt="order"
    ).with_row_index("line")
    return renamed.select(pl.all().cast(pl.String)).collect(), tables.items.collect()


def corrupted(rows: pl.DataFrame, code: str, rate: float, seed: int) -> tuple[pl.DataFrame, int]:
    """The rows with the share `rate` of them corrupted, and the number of those."""
    corruption, count = CORRUPTIONS[code], round(rate * rows.height)
    chosen = np.zeros(rows.height, bool)
    chosen[np.random.default_rng(seed).choice(rows.height, count, replace=False)] = True
    if corruption.column is None:
        return pl.concat([rows, rows.filter(pl.Series(chosen))]), count
    cell = pl.when(pl.Series(chosen)).then(pl.lit(corruption.cell)).otherwise(pl.col(corruption.column))
    return rows.with_columns(cell.alias(corruption.column)), count


def log_of(rows: pl.DataFrame, folder: Path, items: Path) -> Any:
    """The event log that ingest makes of a delivery."""
    from propensity.ingest.build import prepare
    from propensity.ingest.source.table import Table

    folder.mkdir(parents=True, exist_ok=True)
    rows.write_csv(folder / "sales.csv")
    rules: dict[str, Any] = {"most_units": 100_000.0, "guests": "quarantine"}
    return prepare(
        Table(str(folder / "sales.csv"), dict(COLUMNS), items=str(items), item_key="item", **rules), folder / "log"
    )


def rows_found(log: Any, code: str) -> int:
    """Number of rows that the rule `code` counted."""
    fate = CORRUPTIONS[code].fate
    counts = log.meta["warnings"] if fate == "warnings" else log.meta["rows"][fate]
    return int(counts.get(code, 0))


def fit_and_score(cfg: CompareConfig, log: Any, out: Path) -> tuple[dict[str, list[Any]], list[Any]]:
    """Scores of a network of few steps and of personal frequency at the cutoffs, and the cutoffs' data."""
    import lightning.pytorch as lightning

    from propensity.baseline.frequency import Frequency
    from propensity.data.cutoff import parse_cutoff
    from propensity.training.fit import Stage, fit
    from propensity.training.predict import predict
    from propensity.training.run import untrained

    lightning.seed_everything(cfg.seed, verbose=False)
    task = instantiate(cfg.data, _convert_="all")
    task.end = cfg.cutoffs[0]
    training_set = task.training_set(log)
    data = instantiate(cfg.training, _convert_="all").data_module(training_set, task, cfg.seed)
    model = untrained(cfg, task, training_set, data)
    fit(model, instantiate(cfg.loss), data, cfg, out, Stage("search"))
    days = [parse_cutoff(log, day, task.horizon) for day in cfg.cutoffs]
    cutoffs_data = [task.cutoff_data(log, day, training_set.vocabulary) for day in days]
    frequency = Frequency()
    frequency.fit(training_set, cfg.seed)
    network = [predict(model.eval(), cutoff_data) for cutoff_data in cutoffs_data]
    return {
        "network": network,
        "frequency": [frequency.predict(cutoff_data) for cutoff_data in cutoffs_data],
    }, cutoffs_data


def predictions(scores: list[Any], all_labels: list[Any]) -> list[Any]:
    """The scores in the order of the labels' customers and offers; pairs without a score are ranked last."""
    from propensity.metric.labels import Prediction
    from propensity.scores import aligned

    in_order = [
        aligned(each, labels.customer, labels.offer.tolist()) for each, labels in zip(scores, all_labels, strict=True)
    ]
    return [Prediction(each.probability, each.revenue, each.mask) for each in in_order]


@entry("compare")
def main(cfg: CompareConfig) -> None:
    from propensity.evaluation.labels import labels
    from propensity.metric.evaluation import evaluate
    from propensity.report.table import say

    out, (rows, items) = Path(cfg.out), purchases_as_text()
    out.mkdir(parents=True, exist_ok=True)
    items.write_parquet(out / "items.parquet")
    clean = log_of(rows, out / "clean", out / "items.parquet")
    scores, cutoffs_data = fit_and_score(cfg, clean, out / "clean")
    all_labels = [labels(clean, cutoff_data) for cutoff_data in cutoffs_data]
    predicted = {model: {"clean": predictions(each, all_labels)} for model, each in scores.items()}
    scores_by_log = {clean.fingerprint: scores}  # corruptions that lose the same rows leave the same log
    counts: dict[str, tuple[int, int]] = {}
    for code in CORRUPTIONS:
        before = rows_found(clean, code)
        for rate in RATES:
            delivery, injected = corrupted(rows, code, rate, cfg.seed)
            log = log_of(delivery, out / "corrupted", out / "items.parquet")
            name = f"{code} {rate:.0%}"
            counts[name] = injected, rows_found(log, code) - before
            if log.fingerprint not in scores_by_log:
                scores_by_log[log.fingerprint] = fit_and_score(cfg, log, out / "corrupted")[0]
            for model, each in scores_by_log[log.fingerprint].items():
                predicted[model][name] = predictions(each, all_labels)
            say(f"{name}: {counts[name][1]:,} of {injected:,} corrupted rows found")
    metrics = {
        model: evaluate(all_labels, each, reference="clean", resamples=cfg.resamples, seed=cfg.seed)
        for model, each in predicted.items()
    }
    table = markdown_table(metrics, counts, rows.height)
    with whole_file(out / "table.md") as draft:
        draft.write_text(table)
    with whole_file(out / "table.json") as draft:
        differences = {model: each["differences"] for model, each in metrics.items()}
        draft.write_text(json.dumps({"counts": counts, "differences": differences}, indent=1))
    print(table)


def change(metrics: dict[str, Any], name: str) -> str:
    """Revenue lift of a corrupted delivery minus that of the clean one, with its interval."""
    cell = metrics["differences"][name]["mean"]["all"]["revenue_lift"]
    return f"{-cell['value']:+.3f} [{-cell['high']:+.3f}, {-cell['low']:+.3f}]"


def markdown_table(metrics: dict[str, Any], counts: dict[str, tuple[int, int]], rows: int) -> str:
    """A Markdown table with a line for each corruption and share."""
    clean = {m: each["models"]["clean"]["mean"]["all"]["revenue_lift"]["value"] for m, each in metrics.items()}
    lines = [
        f"{rows:,} rows; revenue lift of the clean log: " + ", ".join(f"{m} {v:.3f}" for m, v in clean.items()),
        "",
    ]
    lines += ["| rule and share of the rows | injected | found | " + " | ".join(metrics) + " |"]
    lines += ["|---|---:|---:|" + "---|" * len(metrics)]
    for name, (injected, found) in counts.items():
        changes = " | ".join(change(each, name) for each in metrics.values())
        lines.append(f"| {name} | {injected:,} | {found:,} | {changes} |")
    different = [name for name, (injected, found) in counts.items() if injected != found]
    lines += ["", f"counts that differ: {', '.join(different) or 'none'}", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
