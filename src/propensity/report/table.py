"""What the commands print: tables on stdout, and progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from propensity.data.event_log import META, EventLog, to_date
from propensity.data.log_folder import read_meta
from propensity.data.score_file import scored_log
from propensity.ingest.rule import RULE_BY_CODE, UNUSED_OUTCOMES
from propensity.metric.headline import served_model, sign
from propensity.metric.slice import NO_PURCHASE
from propensity.progress import EVERY, as_json, running, with_estimate
from propensity.progress import Progress as Steps
from propensity.report.expected_over_observed import ratio_lines
from propensity.report.heuristic import sentence
from propensity.report.number import GAP, LOG_CURRENCY, currency_of, shown_metrics
from propensity.report.verdict import served_words, verdict_line
from propensity.scores import Scores
from propensity.training.curve import SUMMARY

SCREEN, NOTES = Console(), Console(stderr=True)
MONEY = ("net", "discounts", "returns", "merged", "quarantined", "dropped")
LINES_EVERY = 30.0  # least seconds between two lines of a count, in logs and pipes
NAMED = 10  # lines that are not products are shown under at most as many names
BASELINES_OF_A_TABLE = 4  # more do not fit a terminal of 80 columns
SLICES = ("never-bought", "lapsed", "repeat", "dormant", "light")


def say(text: str) -> None:
    """Prints a line on stderr."""
    NOTES.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)


def say_plain(text: str) -> None:
    """Prints a line on stderr for programs: without colours, and at once."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def working(
    label: str, command: str = "", of: str | Path | None = None, out: str | None = None, bar: bool = True
) -> Iterator[Callable[[str], None]]:
    """A command at work: a progress bar on a terminal, else lines, or JSON lines; with an estimate of the time left.

    Parameters
    ----------
    label : str
        What it does first.
    command : str
        Its name.
    of : str or Path, optional
        The run or log that it is about: its `times.jsonl` lies beside it, see `propensity.progress`. None: no record.
    out : str, optional
        What it makes, for the record; by default `of`.
    bar : bool
        Whether a bar may be shown; lines where the command has bars of its own.

    Yields
    ------
    callable
        Receives a sentence at the beginning of each step.
    """

    def progress(show: Callable[[str, float | None], None] | None, every: float = EVERY) -> Steps:
        beside = None if of is None else Path(of).resolve().parent
        return Steps(command, label, beside, out or str(of), show, every)

    if as_json():
        with running(progress(None)) as steps:
            yield steps.say
    elif not (bar and NOTES.is_terminal):
        with running(progress(lambda text, left: say(with_estimate(text, left)), LINES_EVERY)) as steps:
            yield steps.say
    else:
        columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
        with Progress(*columns, console=NOTES) as display:
            task = display.add_task(label, total=None)
            show = partial(describe, display, task)
            with running(progress(show)) as steps:
                yield steps.say


def describe(display: Progress, task: TaskID, text: str, left: float | None) -> None:
    """Shows a step in a progress bar."""
    display.update(task, description=with_estimate(text, left))


def plain_table(title: str) -> Table:
    """A table that fits a terminal of 80 columns, its title printed above it in full."""
    SCREEN.print(f"\n[bold]{escape(title)}[/bold]", highlight=False, soft_wrap=True)
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)


def show_log(log: EventLog, out: str | None) -> None:
    """What became of every raw row, and the size of the log at `out`; None for a check without a log."""
    _show_account(log.meta, out)
    SCREEN.print(
        f"{customers_of(log)}, {log.items.height:,} items, {log.size:,} events from {to_date(log.first_day)} to "
        f"{to_date(log.last_day)}; fingerprint {log.fingerprint}"
    )


def show_appended(log: EventLog, out: str | None) -> None:
    """What became of every raw row of a log at `out` that was appended to; no event of it is read."""
    _show_account(log.meta, out)
    SCREEN.print(f"purchases from {to_date(log.first_day)} to {to_date(log.last_day)}")


def _show_account(meta: Mapping[str, Any], out: str | None) -> None:
    """What became of every raw row; out: None for a check without a log."""
    table = plain_table("check of the raw rows" if out is None else f"event log at {out}")
    table.add_column("rows")
    table.add_column("number", justify="right")
    table.add_column("meaning")
    for name, number, meaning in account(meta):
        table.add_row(name, f"{number:,}", meaning)
    SCREEN.print(table)
    show_money(meta)
    if out is None:
        show_formats(meta.get("formats", []))
    if out and meta["rows"]["quarantined"]:
        SCREEN.print(f"quarantined rows: {out}/quarantine/*.parquet", highlight=False, soft_wrap=True)


def customers_of(log: EventLog) -> str:
    """The number of customers, and of guests apart."""
    guests = int(log.customers["guest"].fill_null(False).sum()) if "guest" in log.customers.columns else 0
    return f"{len(log) - guests:,} customers" + (f" and {guests:,} guests" if guests else "")


def show_money(meta: Mapping[str, Any]) -> None:
    """What became of the delivered amounts, and the lines that deserve a look."""
    if money := meta.get("money"):
        currency = f" {meta['currency']}" if meta.get("currency") else ""
        parts = " + ".join(f"{name} {money[name]:,.2f}" for name in MONEY if name in money)
        SCREEN.print(f"sales{currency}: gross {money['gross']:,.2f} = {parts}", highlight=False, soft_wrap=True)
    if names := meta.get("not_products"):
        text = ", ".join(f"{name} ({rows:,})" for name, rows in list(names.items())[:NAMED])
        kept = ", kept" if "not_product_kept" in (meta.get("warnings") or {}) else ""
        SCREEN.print(f"not products{kept}: {escape(text)}", highlight=False, soft_wrap=True)
    for line in meta.get("large_lines", []):
        by = f", taken back by {line['by']}" if line.get("by") else ""
        text = f"{line['rule']}: {line['item']} on {line['day']}, {line['amount']:,.2f}{by}"
        SCREEN.print(escape(text), highlight=False, soft_wrap=True)


def show_formats(formats: Sequence[Mapping[str, str]]) -> None:
    """The formats of the files with their evidence and the settings that decide them."""
    for file in dict.fromkeys(each["file"] for each in formats):
        table = plain_table(f"formats of {file}")
        for name in ("format", "value", "evidence"):
            table.add_column(name)
        table.add_column("data.source.", no_wrap=True)
        for each in formats:
            if each["file"] == file:
                cells = (each["what"], each["value"], each["evidence"], each["setting"].removeprefix("data.source."))
                table.add_row(*map(escape, cells))
        SCREEN.print(table)


def account(meta: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """Lines of a table of rows: read, used, left out by rule, and warnings."""
    rows = meta["rows"]
    lines = [("read", rows["in"], ""), ("used", rows["used"], "")]
    for way in UNUSED_OUTCOMES:
        lines += [(f"{way}: {code}", count, _meaning(code)) for code, count in rows[way].items()]
    return lines + [(f"warning: {code}", count, _meaning(code)) for code, count in meta.get("warnings", {}).items()]


def _meaning(code: str) -> str:
    """The meaning of a rule; empty for a source's own."""
    return RULE_BY_CODE[code].meaning if code in RULE_BY_CODE else ""


def show_run(out: str) -> None:
    """What a training chose and why, its warnings, and the files of its folder."""
    training = json.loads((Path(out) / SUMMARY).read_text())
    SCREEN.print(training["choice"])
    for warning in training["warnings"]:
        SCREEN.print(f"warning: {warning}")
    files = ", ".join(sorted(path.name for path in Path(out).iterdir()))
    SCREEN.print(f"run at {out}: {files}")


def show_forgotten(customer: str, forgotten: Any) -> None:
    """Where a customer's rows were removed, and which models were trained with them."""
    table = plain_table(f"customer {customer} is erased")
    table.add_column("place")
    table.add_column("rows removed", justify="right")
    for place, rows in forgotten.removed.items():
        table.add_row(escape(place), f"{rows:,}")
    SCREEN.print(table)
    models = ", ".join(forgotten.models) or "none"
    SCREEN.print(f"models that were trained with them: {models}", highlight=False, soft_wrap=True)
    SCREEN.print(f"searched: {', '.join(forgotten.searched)}", highlight=False, soft_wrap=True, markup=False)
    if forgotten.copies:
        copies = ", ".join(forgotten.copies)
        SCREEN.print(f"delete those that are theirs: {copies}", highlight=False, soft_wrap=True, markup=False)


def show_rotated(log: str, rotated: Any) -> None:
    """How many ids were replaced, and what still holds those under the former key."""
    lines = [f"{log}: {rotated.customers:,} customers and {rotated.quarantined:,} quarantined rows have new ids"]
    if rotated.tables:
        lines += [f"tables with ids under the former key, make them again: {', '.join(rotated.tables)}"]
    if rotated.models:
        lines += [f"trained on the log as it was, still valid; export bundles again: {', '.join(rotated.models)}"]
    for line in lines:
        SCREEN.print(line, highlight=False, soft_wrap=True, markup=False)


def show_scores(scores: Scores, out: str) -> None:
    """How many pairs were scored, and the ten offers with the highest expected revenue."""
    table = plain_table(f"scores at {out}: cutoff {scores.cutoff}")
    for name in ("offer", "expected buyers", "expected revenue"):
        table.add_column(name, justify="left" if name == "offer" else "right")
    buyers, revenue = scores.probability.sum(0, dtype=float), scores.revenue.sum(0, dtype=float)
    for m in (-revenue).argsort()[:10]:
        table.add_row(scores.offer[m], f"{buyers[m]:,.1f}", f"{revenue[m]:,.2f}")
    SCREEN.print(table)
    n, m = scores.probability.shape
    SCREEN.print(
        f"{n:,} customers x {m:,} offers = {n * m:,} pairs; above, the ten offers with the highest expected revenue "
        f"in {_currency_of_scores(out) or LOG_CURRENCY}"
    )


def show_request_scores(table: pl.DataFrame, out: str) -> None:
    """How many requests and pairs were scored, and what they add up to; of several horizons, in the longest."""
    if "horizon" in table.columns:
        table = table.filter(pl.col("horizon") == pl.col("horizon").max())
    requests = table.select("customer_id", "cutoff").n_unique()
    expected, revenue = float(table["score"].sum()), float(table["expected_revenue"].sum())
    SCREEN.print(
        f"scores at {out}: {table.height:,} pairs of {requests:,} requests, {expected:,.1f} expected purchases, "
        f"{revenue:,.2f} expected revenue in {_currency_of_scores(out) or LOG_CURRENCY}",
        highlight=False,
        soft_wrap=True,
    )


def show_request_metrics(result: dict[str, Any], run: str) -> None:
    """Every metric of an evaluation on requests with its interval, and how many purchases were scored at all."""
    counts, table = (
        result["counts"],
        plain_table("means over requests and pairs; 95 % intervals from a bootstrap over customers"),
    )
    for name in ("metric", "value", "interval"):
        table.add_column(name, justify="left" if name == "metric" else "right", no_wrap=True)
    for name, each in result["metrics"].items():
        ends = "" if each["low"] is None else f"[{each['low']:.4f}, {each['high']:.4f}]"
        table.add_row(name, "" if each["value"] is None else f"{each['value']:.4f}", escape(ends))
    SCREEN.print(table)
    SCREEN.print(
        f"{counts['pairs']:,} pairs of {counts['scored_requests']:,} requests; {counts['purchases_scored']:,} of "
        f"{counts['purchases']:,} purchases are among them; {run}/request_metrics.json holds the rest",
        highlight=False,
        soft_wrap=True,
    )


def _currency_of_scores(path: str) -> str | None:
    """Currency of the log that a table of scores was made from; None where it has no name."""
    log = scored_log(path)
    return read_meta(Path(log)).get("currency") if log is not None and (Path(log) / META).is_file() else None


def show_metrics(metrics: dict[str, Any], folder: str) -> None:
    """The verdict, served model, warnings, all models, expected over observed, and the differences to the baselines."""
    SCREEN.print(f"[bold]{escape(verdict_line(metrics))}[/bold]", highlight=False, soft_wrap=True)
    if served := served_words(metrics):
        SCREEN.print(served, highlight=False, markup=False, soft_wrap=True)
    for warning in metrics.get("warnings", []):
        say(f"warning: {warning}")
    SCREEN.print(_models(metrics))
    if metrics.get("expected_over_observed"):
        SCREEN.print(_totals(metrics))
    SCREEN.print(_slices(metrics))
    if metrics["headline"]:
        SCREEN.print(_against_strongest(metrics))
    if len(metrics["differences"]) > 1:
        names = list(metrics["differences"])
        for first in range(0, len(names), BASELINES_OF_A_TABLE):
            SCREEN.print(_differences(metrics, names[first : first + BASELINES_OF_A_TABLE]))
    for name, comparison in (metrics.get("heuristics") or {}).items():
        SCREEN.print(sentence(metrics, name, comparison), highlight=False)
    if metrics.get("decay"):
        SCREEN.print(f"lift decay: {metrics['decay']['sentence']}", highlight=False)
    SCREEN.print(f"results: {', '.join(result_files(folder))}")


def result_files(folder: str) -> list[str]:
    """Paths of the evaluation's files in `folder`; a comparison of variants has no page."""
    paths = [f"{folder}/{name}" for name in ("report.html", "report.md", "metrics.json")]
    return [path for path in paths if Path(path).is_file()]


def _models(metrics: dict[str, Any]) -> Table:
    """A row for every metric, a column for every model."""
    table = plain_table(f"mean over the cutoffs {', '.join(metrics['counts'])}")
    table.add_column("metric")
    for name in metrics["models"]:
        table.add_column(name, justify="right", no_wrap=True)
    for key, metric in shown_metrics(metrics).items():
        cells = (each["mean"]["all"][key] for each in metrics["models"].values())
        table.add_row(metric.title, *(_number(cell) for cell in cells))
    return table


def _totals(metrics: dict[str, Any]) -> Table:
    """Expected over observed purchases and revenue of the served model, with intervals."""
    currency = currency_of(metrics) or LOG_CURRENCY
    table = plain_table(f"expected over observed, {_reference(metrics)}; amounts are in {currency}")
    table.add_column("sum", no_wrap=True)
    table.add_column("all cutoffs")
    table.add_column("by cutoff")
    for line in ratio_lines(metrics):
        table.add_row(*(escape(text.replace(GAP, " ")) for text in line))
    return table


def _slices(metrics: dict[str, Any]) -> Table:
    table = plain_table("AUC by slice, mean over the cutoffs")
    table.add_column("model", no_wrap=True)
    scored = any(NO_PURCHASE in cells["mean"] for cells in metrics["models"].values())
    named = (*SLICES, NO_PURCHASE) if scored else SLICES
    for name in named:
        table.add_column(name, justify="right")
    for name, cells in metrics["models"].items():
        table.add_row(name, *(_number(cells["mean"].get(slice_, {}).get("auc")) for slice_ in named))
    return table


def _against_strongest(metrics: dict[str, Any]) -> Table:
    """Differences to the strongest baseline with intervals, verdicts, and the sign at each cutoff."""
    baseline = metrics["headline"]["baseline"]
    cells = metrics["differences"][baseline]
    title = f"{_reference(metrics)} minus {baseline}, the strongest baseline"
    table = plain_table(f"{title}; 95 % intervals from a paired bootstrap over customers")
    for name in ("metric", "difference", "interval", "verdict", "by cutoff"):
        table.add_column(
            name, justify="right" if name in ("difference", "interval") else "left", no_wrap=name != "metric"
        )
    for key, metric in shown_metrics(metrics).items():
        cell = cells["mean"]["all"][key]
        interval = "" if cell["low"] is None else f"[{cell['low']:+.4f}, {cell['high']:+.4f}]"
        signs = " ".join(sign(cells[day]["all"][key]["value"]) for day in cells if day != "mean")
        table.add_row(metric.title, _signed(cell), interval, cell["verdict"] or "", signs)
    return table


def _differences(metrics: dict[str, Any], baselines: Sequence[str]) -> Table:
    """Difference and verdict of every metric, a column for each of some baselines."""
    table = plain_table(f"{_reference(metrics)} minus {', '.join(baselines)}")
    table.add_column("metric")  # its titles wrap, so that no verdict is cut on a terminal of 80 columns
    for baseline in baselines:
        table.add_column(baseline, justify="right", no_wrap=True)
    for key, metric in shown_metrics(metrics).items():
        cells = (metrics["differences"][baseline]["mean"]["all"][key] for baseline in baselines)
        table.add_row(metric.title, *(f"{_signed(cell)} {cell['verdict'] or '':<4}" for cell in cells))
    return table


def _reference(metrics: dict[str, Any]) -> str:
    """The model that all others are compared with."""
    return served_model(metrics)


def _signed(cell: dict[str, Any]) -> str:
    return "-" if cell["value"] is None else f"{cell['value']:+.4f}"


def _number(cell: dict[str, Any] | None) -> str:
    """Four decimals below one, two above."""
    if cell is None or cell.get("value") is None:
        return "-"
    return f"{cell['value']:.4f}" if abs(cell["value"]) < 1 else f"{cell['value']:.2f}"


def show_checks(results: Sequence[Any]) -> None:
    """Print one line for each check of a gate."""
    for result in results:
        word = "[green]pass[/green]" if result.passed else "[red]FAIL[/red]"
        SCREEN.print(f"{word} {escape(result.check)}: {escape(result.message)}", highlight=False, soft_wrap=True)


def show_reproduction(reproduction: Any, run: str) -> None:
    """Print up to 20 differences after training a run again, or that there is none."""
    if not reproduction.differences:
        SCREEN.print(f"{run} is reproduced: {reproduction.compared:,} numbers are equal", highlight=False)
        return
    table = plain_table(f"{run} trained again")
    for name in ("value", "before", "now"):
        table.add_column(name)
    for difference in reproduction.differences[:20]:
        table.add_row(*map(escape, difference))
    SCREEN.print(table)


def show_trials(study: Any, out: str) -> None:
    """The best trials of a search, best first."""
    table = plain_table(f"search at {out}")
    for name in ("trial", "value", "settings"):
        table.add_column(name)
    done = [trial for trial in study.trials if trial.value is not None]
    sign = -1 if study.direction.name == "MAXIMIZE" else 1
    for trial in sorted(done, key=lambda trial: sign * trial.value)[:10]:
        table.add_row(str(trial.number), f"{trial.value:.5f}", " ".join(f"{k}={v}" for k, v in trial.params.items()))
    SCREEN.print(table)
