"""What the scripts print: one table at the end, and a line on stderr while something takes its time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from propensity.data.event_log import EventLog, to_date
from propensity.ingest.rule import RULE_BY_CODE, UNUSED_OUTCOMES
from propensity.metric.headline import sign
from propensity.report.money import sentence
from propensity.report.verdict import verdict_line
from propensity.scores import Scores

SCREEN, NOTES = Console(), Console(stderr=True)
METRICS = {
    "auc": "AUC",
    "average_precision": "AP",
    "lift": "lift",
    "revenue_capture": "revenue",
    "normalised_revenue_capture": "of best",
    "revenue_lift": "rev lift",
    "log_loss": "log loss",
    "ece": "ECE",
}
LEGEND = (
    "the best 10 % of customers of each offer: lift of their purchases, share of the revenue, the same over the most "
    "anybody could have had (of best), and in multiples of a random mailing (rev lift); ECE is the calibration error"
)
SLICES = ("new", "lapsed", "repeat", "dormant", "light")


def say(text: str) -> None:
    """A line for whoever watches, on stderr."""
    NOTES.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def working(label: str) -> Iterator[Callable[[str], None]]:
    """A bar that shows what is being done and for how long; where stderr is no terminal, lines."""
    if not NOTES.is_terminal:
        yield say
        return
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=NOTES
    ) as progress:
        task = progress.add_task(label, total=None)

        def tell(text: str) -> None:
            progress.update(task, description=text)

        yield tell


def plain_table(title: str) -> Table:
    """A table that fits a terminal of 80 columns, its title printed above it in full."""
    SCREEN.print(f"\n[bold]{escape(title)}[/bold]", highlight=False, soft_wrap=True)
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)


def show_log(log: EventLog, out: str | None) -> None:
    """Where every raw row went, and what the log at `out` holds; None: it was only tried."""
    table = plain_table("what would become of the rows" if out is None else f"event log at {out}")
    table.add_column("rows")
    table.add_column("number", justify="right")
    table.add_column("what that is")
    for name, number, what in account(log.meta):
        table.add_row(name, f"{number:,}", what)
    SCREEN.print(table)
    if out and log.meta["rows"]["quarantined"]:
        SCREEN.print(f"quarantined rows: {out}/quarantine/*.parquet", highlight=False, soft_wrap=True)
    SCREEN.print(
        f"{len(log):,} customers, {log.items.height:,} items, {log.day.size:,} events from {to_date(log.first_day)} to "
        f"{to_date(log.last_day)}; fingerprint {log.fingerprint}"
    )


def account(meta: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """Lines of a table of rows: what was read and used, where the rest went, and what is worth a word."""
    rows = meta["rows"]
    lines = [("read", rows["in"], ""), ("used", rows["used"], "")]
    for way in UNUSED_OUTCOMES:
        lines += [(f"{way}: {code}", count, _meaning(code)) for code, count in rows[way].items()]
    return lines + [(f"note: {code}", count, _meaning(code)) for code, count in meta.get("warnings", {}).items()]


def _meaning(code: str) -> str:
    """What a rule says, or nothing for a source's own."""
    return RULE_BY_CODE[code].meaning if code in RULE_BY_CODE else ""


def show_run(out: str) -> None:
    """What training left behind."""
    files = ", ".join(sorted(path.name for path in Path(out).iterdir()))
    SCREEN.print(f"run at {out}: {files}")


def show_forgotten(customer: str, forgotten: Any) -> None:
    """Where a customer's rows were removed, and which models still remember them."""
    table = plain_table(f"customer {customer} is forgotten; a search finds them no more")
    table.add_column("where")
    table.add_column("rows removed", justify="right")
    for place, rows in forgotten.removed.items():
        table.add_row(escape(place), f"{rows:,}")
    SCREEN.print(table)
    models = ", ".join(forgotten.models) or "none"
    SCREEN.print(f"models that were trained with them: {models}", highlight=False, soft_wrap=True)


def show_scores(scores: Scores, out: str) -> None:
    """How many pairs were scored, and the strongest offers."""
    table = plain_table(f"scores at {out}: send date {scores.cutoff}")
    for name in ("offer", "expected buyers", "expected revenue"):
        table.add_column(name, justify="left" if name == "offer" else "right")
    buyers, revenue = scores.probability.sum(0, dtype=float), scores.revenue.sum(0, dtype=float)
    for m in (-revenue).argsort()[:10]:
        table.add_row(scores.offer[m], f"{buyers[m]:,.1f}", f"{revenue[m]:,.2f}")
    SCREEN.print(table)
    n, m = scores.probability.shape
    SCREEN.print(f"{n:,} customers x {m:,} offers = {n * m:,} pairs; the ten strongest offers are shown")


def show_metrics(metrics: dict[str, Any], folder: str) -> None:
    """The verdict; all models side by side, mean over the dates; the network against each, with intervals."""
    SCREEN.print(f"[bold]{escape(verdict_line(metrics))}[/bold]", highlight=False, soft_wrap=True)
    for remark in metrics.get("warnings", []):
        say(remark)
    SCREEN.print(_models(metrics))
    SCREEN.print(LEGEND, style="dim", highlight=False)
    SCREEN.print(_slices(metrics))
    if metrics["differences"]:
        SCREEN.print(_differences(metrics))
    for name, found in (metrics.get("heuristics") or {}).items():
        SCREEN.print(sentence(name, found), highlight=False)
    if metrics.get("decay"):
        SCREEN.print(f"lift decay: {metrics['decay']['sentence']}", highlight=False)
    SCREEN.print(f"the whole story: {', '.join(left_in(folder))}")


def left_in(folder: str) -> list[str]:
    """Paths of the judgement's files in `folder`: a comparison has metrics and no page."""
    paths = [f"{folder}/{name}" for name in ("report.html", "report.md", "metrics.json")]
    return [path for path in paths if Path(path).is_file()]


def _models(metrics: dict[str, Any]) -> Table:
    dates = ", ".join(metrics["counts"])
    table = plain_table(f"mean over {dates}")
    table.add_column("model", no_wrap=True)
    for title in METRICS.values():
        table.add_column(title, justify="right", no_wrap=True)
    for name, cells in metrics["models"].items():
        table.add_row(name, *(_number(cells["mean"]["all"].get(metric)) for metric in METRICS))
    return table


def _slices(metrics: dict[str, Any]) -> Table:
    table = plain_table("AUC by slice, mean over the dates")
    table.add_column("model", no_wrap=True)
    for name in SLICES:
        table.add_column(name, justify="right")
    for name, cells in metrics["models"].items():
        table.add_row(name, *(_number(cells["mean"].get(slice_, {}).get("auc")) for slice_ in SLICES))
    return table


def _differences(metrics: dict[str, Any]) -> Table:
    table = plain_table("network minus rival, 95 % interval over customers")
    for name in ("rival", "metric", "difference", "interval", "verdict", "by date"):
        table.add_column(name, justify="right" if name == "difference" else "left")
    for rival, cells in metrics["differences"].items():
        for metric in ("revenue_lift", "auc", "average_precision", "normalised_revenue_capture", "log_loss"):
            cell = cells["mean"]["all"].get(metric, {})
            if cell.get("value") is None:
                continue
            interval = "" if cell.get("low") is None else f"[{cell['low']:+.4f}, {cell['high']:+.4f}]"
            signs = " ".join(sign(cells[day]["all"][metric]["value"]) for day in cells if day != "mean")
            table.add_row(rival, METRICS[metric], f"{cell['value']:+.4f}", interval, cell.get("verdict") or "", signs)
    return table


def _number(cell: dict[str, Any] | None) -> str:
    """Four decimals of what is below one, three digits of multiples."""
    if cell is None or cell.get("value") is None:
        return "-"
    return f"{cell['value']:.4f}" if abs(cell["value"]) < 1 else f"{cell['value']:.2f}"


def show_findings(findings: Sequence[Any]) -> None:
    """A line for each check of a gate."""
    for finding in findings:
        word = "[green]pass[/green]" if finding.passed else "[red]FAIL[/red]"
        SCREEN.print(f"{word} {escape(finding.check)}: {escape(finding.sentence)}", highlight=False, soft_wrap=True)


def show_copy(copy: Any, run: str) -> None:
    """What training again changed; or that it changed nothing."""
    if not copy.differences:
        SCREEN.print(f"{run} is reproduced: {copy.compared:,} numbers are the same", highlight=False)
        return
    table = plain_table(f"{run} trained again")
    for name in ("what", "then", "now"):
        table.add_column(name)
    for difference in copy.differences[:20]:
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
