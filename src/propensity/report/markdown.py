"""The same findings as Markdown, short enough for a pull request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from propensity.atomic import whole_file
from propensity.report.money import CUSTOMS
from propensity.report.money import sentence as left_on_the_table
from propensity.report.number import DASH, GAP, Cell, MetricFormat, decimal, shown_metrics
from propensity.report.offer import over_dates
from propensity.report.page import settings
from propensity.report.verdict import REFERENCE, baseline_of, baselines_of, name_of, verdict_line

SHORT = 3  # offers at either end


def write_summary(metrics: Mapping[str, Any], path: str | Path) -> None:
    """Writes the summary of `metrics`, whole or not at all."""
    with whole_file(path) as draft:
        draft.write_text(summary(metrics), encoding="utf-8")


def summary(metrics: Mapping[str, Any]) -> str:
    """Verdict, all models, differences by date, groups of customers, offers, customs, decay, and how to repeat it."""
    shown = shown_metrics(metrics)
    parts = [
        f"**{verdict_line(metrics)}**",
        f"Mean over {', '.join(metrics['counts'])}; in brackets 95 % intervals, customers drawn again in pairs.",
        _models(metrics, shown),
        _dates(metrics, shown),
        _groups(metrics, shown),
        _offers(metrics),
        *(
            f"{left_on_the_table(name, found)}."
            for name, found in (metrics.get("heuristics") or {}).items()
            if name in CUSTOMS
        ),
        *([f"Lift decay: {metrics['decay']['sentence']}."] if metrics.get("decay") else []),
        *(f"- {remark}" for remark in metrics.get("warnings", [])),
        _repeat(metrics),
    ]
    return "\n\n".join(part for part in parts if part).replace(GAP, " ") + "\n"


def _models(metrics: Mapping[str, Any], shown: Mapping[str, MetricFormat]) -> str:
    """A row for every metric, a column for every model."""
    names = (REFERENCE, *baselines_of(metrics))
    cells = [metrics["models"][name]["mean"]["all"] for name in names]
    rows = [[metric.title, *(_written(each[key], metric) for each in cells)] for key, metric in shown.items()]
    return _table(["metric", *map(name_of, names)], rows)


def _dates(metrics: Mapping[str, Any], shown: Mapping[str, MetricFormat]) -> str:
    """The network against the incumbent at each send date, and the mean."""
    if not (baseline := baseline_of(metrics)):
        return ""
    rows = []
    for date, slices in metrics["differences"][baseline].items():
        cells = [slices["all"][key] for key in ("revenue_lift", "auc")]
        rows.append(
            [date, *(_change(cell, shown[key]) for cell, key in zip(cells, ("revenue_lift", "auc"), strict=True))]
        )
    return _table([f"against {name_of(baseline)}", "revenue lift", "AUC"], rows)


def _groups(metrics: Mapping[str, Any], shown: Mapping[str, MetricFormat]) -> str:
    """The margins of the partition that hold any pair."""
    cells, baseline = metrics["models"][REFERENCE]["mean"], baseline_of(metrics)
    rows = []
    for name in (name for name in cells if name.count("any") == 2):
        inside = [count["slices"][name] for count in metrics["counts"].values()]
        if not sum(each["pairs"] for each in inside):
            continue
        row = [name.replace(" / any", "").replace("any / ", "")]
        row += [decimal(sum(each[key] for each in inside), 0) for key in ("pairs", "positives")]
        row.append(_written(cells[name]["revenue_lift"], shown["revenue_lift"]))
        if baseline:
            change = metrics["differences"][baseline]["mean"][name]["revenue_lift"]
            row.append(_change(change, shown["revenue_lift"]))
        rows.append(row)
    head = ["slice", "pairs", "purchases", "revenue lift", *([f"against {name_of(baseline)}"] if baseline else [])]
    return _table(head, rows) if rows else ""


def _offers(metrics: Mapping[str, Any]) -> str:
    rows = [row for row in over_dates(list(metrics["offers"].values())) if row["judged"]]
    ranked = sorted(rows, key=lambda row: -row["lift"])
    few = min(SHORT, len(ranked) // 2)
    if not few:
        return ""
    best, worst = ranked[:few], ranked[len(ranked) - few :]
    said = (", ".join(f"{_plain(row['offer'])} {row['lift']:.1f}" for row in rows) for rows in (best, worst))
    return "Buyers lift by offer, best: {}; worst: {}.".format(*said)


def _repeat(metrics: Mapping[str, Any]) -> str:
    run = metrics.get("run") or {}
    known = [
        f"{name} `{run[key]}`"
        for name, key in (("commit", "commit"), ("data", "data"), ("seed", "seed"))
        if run.get(key) is not None
    ]
    lines = "\n".join(settings(run.get("config") or {}))
    said = f"Made by {', '.join(known)}." if known else ""
    return said + (f"\n\n<details><summary>configuration</summary>\n\n```\n{lines}\n```\n\n</details>" if lines else "")


def _written(cell: Cell, metric: MetricFormat) -> str:
    return f"{metric.value(cell)} {metric.interval(cell)}".strip() if cell["value"] is not None else DASH


def _change(cell: Cell, metric: MetricFormat) -> str:
    if cell["value"] is None:
        return DASH
    return f"{metric.difference(cell)} {metric.interval(cell, signed=True)} {cell.get('verdict') or ''}".strip()


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(_plain(each) for each in line) + " |" for line in lines)


def _plain(text: str) -> str:
    """A name as text: no column is opened, no markup begun."""
    kept = "".join(" " if letter in "\r\n" else letter for letter in text)
    return kept.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`").replace("*", "\\*")
