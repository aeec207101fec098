"""The page's tables and figures, section by section, as plain values that the template fills in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from propensity.champion.model_name import in_text, name_of
from propensity.ingest.rule import UNUSED_OUTCOMES
from propensity.metric.headline import served_model
from propensity.metric.slice import NO_PURCHASE
from propensity.report.chart import legend_swatch
from propensity.report.figure import DotRow, dot_rows, reliability, revenue_curves, style_of
from propensity.report.html_table import (
    Footnotes,
    HtmlTable,
    TableCell,
    best_of,
    difference_cell,
    missing_cell,
    value_cell,
)
from propensity.report.number import DASH, MetricFormat, currency_of, decimal, in_currency, optional, percent
from propensity.report.verdict import baseline_of, baselines_of, main_models

Metrics = Mapping[str, Any]
CANDIDATE_COLUMNS = {
    "log_loss": "Log loss", "difference": "Log loss minus the served model's", "low": "95 % interval, from",
    "high": "to",
    "chosen": "Settings",
}  # fmt: skip
SLICES = {
    "never-bought": "pairs of customer and offer without a purchase before the cutoff",
    "lapsed": "pairs with an earlier purchase, but none in the last 91 days",
    "repeat": "pairs with an earlier purchase at any time",
    "dormant": "customers who bought nothing in the last 28 days",
    "light": "the half of the customers with the fewest orders",
    NO_PURCHASE: "customers who registered, or have another event, and have never bought anything",
}


class LegendEntry(NamedTuple):
    """A legend's swatch and model name, and a value beside it."""

    swatch: Markup
    name: str
    value: str = ""


def legend(names: Sequence[str], values: Mapping[str, str] | None = None, dot: bool = False) -> list[LegendEntry]:
    """An entry for every model, as it is drawn in figures."""
    swatches = {name: legend_swatch(style_of(name), dot) for name in names}
    return [LegendEntry(swatch, name_of(name), (values or {}).get(name, "")) for name, swatch in swatches.items()]


def curves(metrics: Metrics, shown: Mapping[str, MetricFormat]) -> dict[str, Any]:
    """The revenue curves, whole and their start, the legend, and the same as numbers."""
    fraction, names = metrics["fraction"], [served_model(metrics), *baselines_of(metrics), "oracle"]
    named = {name: name_of(name) for name in names}
    models = {name: title for name, title in named.items() if name != "oracle"}
    captures = {name: cells["mean"]["all"]["revenue_capture"] for name, cells in metrics["models"].items()}
    captures["oracle"] = metrics["models"][served_model(metrics)]["mean"]["all"]["revenue_capture_oracle"]
    values = {name: shown["revenue_capture"].value(cell) for name, cell in captures.items()}
    depths = [n for n in (1, 2, 5, 10, 20, 30, 50) if n < len(metrics["curves"][served_model(metrics)]["share"])]
    rows = [[TableCell(named[name]), *(_depth(metrics["curves"][name]["macro"][n]) for n in depths)] for name in names]
    rows.append([TableCell("Random ranking"), *(_depth(n / 100) for n in depths)])
    return {
        "whole": revenue_curves(metrics["curves"], named, fraction),
        "start": revenue_curves(metrics["curves"], models, fraction, end=max(0.2, min(2 * fraction, 1.0))),
        "legend": legend(names, values),
        "table": HtmlTable(["Share of customers", *(percent(n / 100, 0) for n in depths)], rows, []),
    }


def models(metrics: Metrics, shown: Mapping[str, MetricFormat]) -> HtmlTable:
    """A row for every metric, a column for every model, mean over the cutoffs; the best of each row is marked."""
    notes, names = Footnotes(), [served_model(metrics), *baselines_of(metrics)]
    cells = {name: metrics["models"][name]["mean"]["all"] for name in names}
    best = {key: best_of([cells[name][key] for name in names], metric) for key, metric in shown.items()}
    rows = [
        [TableCell(metric.title), *(value_cell(cells[name][key], metric, notes, best[key]) for name in names)]
        for key, metric in shown.items()
    ]
    return HtmlTable(["Metric", *map(name_of, names)], rows, notes.reasons)


def differences(metrics: Metrics, shown: Mapping[str, MetricFormat]) -> HtmlTable:
    """The served model minus each other one, a row for every metric, with verdicts."""
    notes, baselines = Footnotes(), baselines_of(metrics)
    cells = {name: metrics["differences"][name]["mean"]["all"] for name in baselines}
    rows = [
        [TableCell(metric.title), *(difference_cell(cells[name][key], metric, notes) for name in baselines)]
        for key, metric in shown.items()
    ]
    return HtmlTable(
        [f"{name_of(served_model(metrics))} minus", *map(name_of, baselines)], rows if baselines else [], notes.reasons
    )


def cutoffs(metrics: Metrics, shown: Mapping[str, MetricFormat]) -> dict[str, Any]:
    """Every cutoff by itself: the served model, the strongest baseline and the difference."""
    baseline, notes, days = baseline_of(metrics), Footnotes(), list(metrics["counts"])
    wanted = [shown["revenue_capture"], shown["auc"]]
    rows = []
    for day in days:
        row = [TableCell(day)]
        for metric in wanted:
            row.append(value_cell(metrics["models"][served_model(metrics)][day]["all"][metric.name], metric, notes))
            if baseline:
                row.append(value_cell(metrics["models"][baseline][day]["all"][metric.name], metric, notes))
                row.append(difference_cell(metrics["differences"][baseline][day]["all"][metric.name], metric, notes))
        rows.append(row)
    ours = in_text(served_model(metrics))
    columns = [ours, name_of(baseline), "difference"] if baseline else [ours]
    head = ["Cutoff", *(f"{metric.title}: {column}" for metric in wanted for column in columns)]
    figures = _cutoff_figures(metrics, shown, days, baseline)
    return {"table": HtmlTable(head, rows, notes.reasons), "figures": figures}


def slices(metrics: Metrics, shown: Mapping[str, MetricFormat]) -> dict[str, Any]:
    """AUC by slice of the served model, the strongest baseline and personal frequency."""
    notes, models, auc, baseline = Footnotes(), main_models(metrics), shown["auc"], baseline_of(metrics)
    names = [name for name in metrics["models"][served_model(metrics)]["mean"] if name != "all" and " / " not in name]
    points, rows = [], []
    for name in names:
        cells = {model: metrics["models"][model]["mean"][name] for model in models}
        points.append(DotRow(name, {model: cell["auc"] for model, cell in cells.items()}))
        row = [TableCell(name), TableCell(decimal(_positives(metrics, name), 0))]
        row += [value_cell(cells[model]["auc"], auc, notes) for model in models]
        if baseline:
            against = metrics["differences"][baseline]["mean"][name]
            row += [difference_cell(against[key], shown[key], notes) for key in ("auc", "revenue_capture")]
        rows.append(row)
    head = ["Slice", "Purchases", *(f"AUC: {name_of(model)}" for model in models)]
    if baseline:
        head += [f"{shown[key].title}: minus {name_of(baseline)}" for key in ("auc", "revenue_capture")]
    named = {model: name_of(model) for model in models}
    figure = dot_rows(points, named, auc, "AUC by slice, 95 % interval", difference=False) if points else ""
    return {
        "figure": figure,
        "legend": legend(models, dot=True),
        "table": HtmlTable(head, rows, notes.reasons),
        "meaning": [(name, SLICES.get(name, "")) for name in names],
    }


def calibration(metrics: Metrics) -> dict[str, Any]:
    """Expected against observed purchases and the reliability diagram, for models whose scores are probabilities."""
    names = [served_model(metrics), *baselines_of(metrics)]
    bins = {name: metrics["calibration"][name]["bins"] for name in names if metrics["calibration"][name]["bins"]}
    rows, notes = [], Footnotes()
    for name in names:
        if name in bins:
            expected, observed = (sum(row[k] * row["pairs"] for row in bins[name]) for k in ("predicted", "observed"))
            ratio = decimal(expected / observed, 3) if observed else DASH
            texts = (name_of(name), decimal(expected, 0), decimal(observed, 0), ratio)
            rows.append([TableCell(text) for text in texts])
        else:
            reason = metrics["calibration"][name].get("reason", "the scores are no probabilities")
            rows.append([TableCell(name_of(name)), *[missing_cell(reason, notes)] * 3])
    head = ["Model", "Purchases expected", "Purchases observed", "Ratio"]
    drawn = [name for name in main_models(metrics) if name in bins]
    figure = reliability(bins, {name: name_of(name) for name in drawn}) if drawn else ""
    empty = sum(row["observed"] <= 0 or row["predicted"] <= 0 for name in drawn for row in bins[name])
    return {
        "figure": figure,
        "legend": legend(drawn),
        "empty": empty,
        "table": HtmlTable(head, rows, notes.reasons),
        "bins": _bins(bins.get(served_model(metrics), [])),
    }


def candidates(metrics: Metrics) -> HtmlTable | None:
    """The candidates among which the served model was chosen, with their validation metrics; None without a choice."""
    measured = (metrics.get("champion") or {}).get("candidates")
    if not measured:
        return None
    names = list(dict.fromkeys(name for values in measured.values() for name in values))
    titles = [metrics["metrics"].get(name, {}).get("title", CANDIDATE_COLUMNS.get(name, name)) for name in names]
    rows = [
        [TableCell(name_of(model)), *(TableCell(_four(values.get(name))) for name in names)]
        for model, values in measured.items()
    ]
    return HtmlTable(["Candidate", *titles], rows, [])


def data(metrics: Metrics) -> dict[str, HtmlTable | None]:
    """What became of every raw row, and how much data each cutoff has."""
    rows = metrics["run"].get("rows") or {}
    lines = [(name, rows[key]) for key, name in (("in", "read"), ("used", "used")) if key in rows]
    lines += [(f"{way}: {rule}", count) for way in UNUSED_OUTCOMES for rule, count in (rows.get(way) or {}).items()]
    counted = [[TableCell(name), TableCell(decimal(count, 0))] for name, count in lines]
    head = ["Cutoff", "Customers", "Offers", "Evaluated", "Pairs", "Purchases", "Purchase rate"]
    head.append(in_currency("Revenue", currency_of(metrics)))
    days = []
    for day, c in metrics["counts"].items():
        whole = [c["customers"], c["offers"], c["slices"]["all"]["offers"], c["pairs"], c["positives"]]
        rate = percent(c["positives"] / c["pairs"], 2) if c["pairs"] else DASH
        texts = [day, *(decimal(n, 0) for n in whole), rate, optional(c["revenue"], 0)]
        days.append([TableCell(text) for text in texts])
    raw = HtmlTable(["Rows", "Number"], counted, []) if counted else None
    return {"rows": raw, "cutoffs": HtmlTable(head, days, [])}


def _bins(bins: Sequence[Mapping[str, Any]]) -> HtmlTable:
    rows = []
    for row in bins:
        texts = [percent(row["predicted"], 3), percent(row["observed"], 3), decimal(row["pairs"], 0)]
        texts += [decimal(row["predicted"] * row["pairs"], 1), decimal(row["observed"] * row["pairs"], 0)]
        rows.append([TableCell(text) for text in texts])
    head = ["Mean probability", "Purchase rate", "Pairs", "Purchases expected", "Purchases observed"]
    return HtmlTable(head, rows, [])


def _cutoff_figures(
    metrics: Metrics, shown: Mapping[str, MetricFormat], days: list[str], baseline: str | None
) -> list[tuple[str, Markup]]:
    """A caption and a figure each for revenue capture and AUC."""
    served, drawn = served_model(metrics), []
    units = {"revenue_capture": "percentage points" if baseline else "%", "auc": "AUC"}
    for key, unit in units.items():
        source = metrics["differences"][baseline] if baseline else metrics["models"][served]
        rows = [DotRow(day, {served: source[day]["all"][key]}) for day in days]
        caption = f"{name_of(served)} minus {name_of(baseline)}" if baseline else name_of(served)
        figure = dot_rows(rows, {served: name_of(served)}, shown[key], unit, difference=baseline is not None)
        drawn.append((f"{caption}: {shown[key].title}", figure))
    return drawn


def _positives(metrics: Metrics, name: str) -> int:
    return sum(count["slices"][name]["positives"] for count in metrics["counts"].values())


def _four(value: Any) -> str:
    """Four decimals of a number, and settings with their values."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {each:.4g}" for name, each in value.items())
    return optional(value, 4) if value is None or isinstance(value, int | float) else str(value)


def _depth(value: float | None) -> TableCell:
    return TableCell(DASH if value is None else percent(value))
