"""The results as Markdown, short enough for a pull request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from propensity.atomic import whole_file
from propensity.champion.model_name import in_text, name_of
from propensity.metric.headline import served_model
from propensity.metric.slice import MARGINS, NO_PURCHASE
from propensity.report.expected_over_observed import ratio_lines, short_name
from propensity.report.heuristic import HEURISTICS, sentence
from propensity.report.number import DASH, GAP, LOG_CURRENCY, Cell, MetricFormat, currency_of, decimal, shown_metrics
from propensity.report.offer import over_cutoffs
from propensity.report.page import settings, write_page
from propensity.report.partition import totals
from propensity.report.verdict import baseline_of, baselines_of, served_words, verdict_line

SHORT = 3  # offers at either end
HEADLINE = ("revenue_lift", "auc")


def write_report(metrics: Mapping[str, Any], folder: str | Path) -> None:
    """Write the page and its summary of `metrics` to report.html and report.md of a folder."""
    write_page(metrics, Path(folder) / "report.html")
    write_summary(metrics, Path(folder) / "report.md")


def write_summary(metrics: Mapping[str, Any], path: str | Path) -> None:
    """Writes the summary of `metrics`, the result of `evaluate`; the file appears whole or not at all."""
    with whole_file(path) as draft:
        draft.write_text(summary(metrics), encoding="utf-8")


def summary(metrics: Mapping[str, Any]) -> str:
    """Verdict, served model, warnings, models, totals, cutoffs, slices, offers, heuristics, and how to reproduce it."""
    shown = shown_metrics(metrics)
    comparisons = metrics.get("heuristics") or {}
    parts = [
        f"**{verdict_line(metrics)}**",
        plain_text(served_words(metrics)),
        "\n".join(f"- Warning: {plain_text(warning)}" for warning in metrics.get("warnings", [])),
        f"Mean over the cutoffs {', '.join(metrics['counts'])}; 95 % intervals from a paired bootstrap over customers.",
        _models(metrics, shown),
        _totals(metrics),
        _cutoffs(metrics, shown),
        _slices(metrics, shown),
        _offers(metrics),
        f"Amounts are in {currency_of(metrics) or LOG_CURRENCY}.",
        *(f"{sentence(metrics, name, each)}." for name, each in comparisons.items() if name in HEURISTICS),
        *([f"Lift decay: {metrics['decay']['sentence']}."] if metrics.get("decay") else []),
        _reproduce(metrics),
    ]
    return "\n\n".join(part for part in parts if part).replace(GAP, " ") + "\n"


def _models(metrics: Mapping[str, Any], shown: Mapping[str, MetricFormat]) -> str:
    """A row for every metric, a column for every model."""
    names = (served_model(metrics), *baselines_of(metrics))
    cells = [metrics["models"][name]["mean"]["all"] for name in names]
    rows = [[metric.title, *(_value(each[key], metric) for each in cells)] for key, metric in shown.items()]
    return markdown_table(["metric", *map(name_of, names)], rows)


def _totals(metrics: Mapping[str, Any]) -> str:
    """Expected over observed purchases and revenue of the served model."""
    rows = [list(line) for line in ratio_lines(metrics)]
    head = [f"expected / observed: {in_text(served_model(metrics))}", "all cutoffs", "by cutoff"]
    return markdown_table(head, rows) if rows else ""


def _cutoffs(metrics: Mapping[str, Any], shown: Mapping[str, MetricFormat]) -> str:
    """The served model minus the strongest baseline at each cutoff, and the mean."""
    if not (baseline := baseline_of(metrics)):
        return ""
    rows = [
        [cutoff, *(_difference(slices["all"][key], shown[key]) for key in HEADLINE)]
        for cutoff, slices in metrics["differences"][baseline].items()
    ]
    return markdown_table(
        [f"{in_text(served_model(metrics))} minus {name_of(baseline)}", *(shown[key].title for key in HEADLINE)], rows
    )


def _slices(metrics: Mapping[str, Any], shown: Mapping[str, MetricFormat]) -> str:
    """The margins of the partition that hold a pair."""
    cells, baseline, lift = (
        metrics["models"][served_model(metrics)]["mean"],
        baseline_of(metrics),
        shown["revenue_lift"],
    )
    rows = []
    for name in (name for name in (*MARGINS, NO_PURCHASE) if name in cells):
        sums = totals(metrics, name)
        if not sums["pairs"]:
            continue
        row = [short_name(name), *(decimal(sums[key], 0) for key in ("pairs", "positives"))]
        row.append(_value(cells[name]["revenue_lift"], lift))
        if baseline:
            row.append(_difference(metrics["differences"][baseline]["mean"][name]["revenue_lift"], lift))
        rows.append(row)
    head = ["slice", "pairs", "purchases", lift.title, *([f"minus {name_of(baseline)}"] if baseline else [])]
    return markdown_table(head, rows) if rows else ""


def _offers(metrics: Mapping[str, Any]) -> str:
    rows = [row for row in over_cutoffs(list(metrics["offers"].values())) if row["evaluated"]]
    ranked = sorted(rows, key=lambda row: -row["lift"])
    few = min(SHORT, len(ranked) // 2)
    if not few:
        return ""
    highest, lowest = ranked[:few], ranked[len(ranked) - few :]
    listed = (", ".join(f"{plain_text(row['offer'])} {row['lift']:.1f}" for row in rows) for rows in (highest, lowest))
    return "{} by offer, highest: {}; lowest: {}.".format(metrics["metrics"]["lift"]["title"], *listed)


def _reproduce(metrics: Mapping[str, Any]) -> str:
    run = metrics.get("run") or {}
    known = [f"{key} `{run[key]}`" for key in ("commit", "source", "data", "seed") if run.get(key) is not None]
    lines = "\n".join(settings(run.get("config") or {}))
    made_by = f"Run: {', '.join(known)}." if known else ""
    if not lines:
        return made_by
    return f"{made_by}\n\n<details><summary>configuration</summary>\n\n```\n{lines}\n```\n\n</details>"


def _value(cell: Cell, metric: MetricFormat) -> str:
    return f"{metric.value(cell)} {metric.interval(cell)}".strip() if cell["value"] is not None else DASH


def _difference(cell: Cell, metric: MetricFormat) -> str:
    if cell["value"] is None:
        return DASH
    return f"{metric.difference(cell)} {metric.interval(cell, signed=True)} {cell.get('verdict') or ''}".strip()


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; numbers stand in all columns but the first."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(plain_text(each) for each in line) + " |" for line in lines)


def plain_text(text: str) -> str:
    """Text that opens no column and starts no markup."""
    line = "".join(" " if letter in "\r\n" else letter for letter in text)
    return line.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`").replace("*", "\\*")
