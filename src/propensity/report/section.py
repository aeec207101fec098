"""The page's tables and drawings, section by section, as plain values a template fills in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from propensity.ingest.rule import UNUSED_OUTCOMES
from propensity.report.chart import swatch
from propensity.report.figure import Row, dot_rows, look, reliability, revenue_curves
from propensity.report.grid import HtmlTable, Item, Notes, best_of, changed, measured, missing
from propensity.report.number import DASH, Metric, decimal, optional, percent
from propensity.report.verdict import REFERENCE, baseline_of, baselines_of, chosen_three, name_of

Metrics = Mapping[str, Any]
SLICES = {
    "new": ("New", "customer and offer pairs with no purchase before the send date"),
    "lapsed": ("Lapsed", "pairs with an earlier purchase, but none in the last 91 days"),
    "repeat": ("Repeat", "pairs with an earlier purchase at any time"),
    "dormant": ("Dormant", "customers who bought nothing at all in the last 28 days"),
    "light": ("Light", "the half of the customers with the fewest orders"),
}


class Key(NamedTuple):
    swatch: Markup
    name: str
    figure: str = ""


def legend(names: Sequence[str], figures: Mapping[str, str] | None = None, dot: bool = False) -> list[Key]:
    return [Key(swatch(look(name), dot), name_of(name), (figures or {}).get(name, "")) for name in names]


def curves(metrics: Metrics, shown: Mapping[str, Metric], fraction: float) -> dict[str, Any]:
    """The revenue curves, whole and enlarged, their legend, and the same as numbers."""
    names = [REFERENCE, *baselines_of(metrics), "oracle"]
    named = {name: name_of(name) for name in names}
    near = {name: title for name, title in named.items() if name != "oracle"}
    reached = {name: cells["mean"]["all"]["revenue_capture"] for name, cells in metrics["models"].items()}
    reached["oracle"] = metrics["models"][REFERENCE]["mean"]["all"]["revenue_capture_oracle"]
    figures = {name: shown["revenue_capture"].value(cell) for name, cell in reached.items()}
    depths = [n for n in (1, 2, 5, 10, 20, 30, 50) if n < len(metrics["curves"][REFERENCE]["share"])]
    rows = [[Item(named[name]), *(_depth(metrics["curves"][name]["macro"][n]) for n in depths)] for name in names]
    rows.append([Item("Random mailing"), *(_depth(n / 100) for n in depths)])
    return {
        "whole": revenue_curves(metrics["curves"], named, fraction),
        "start": revenue_curves(metrics["curves"], near, fraction, reach=max(0.2, min(2 * fraction, 1.0))),
        "legend": legend(names, figures),
        "table": HtmlTable(["Customers mailed", *(percent(n / 100, 0) for n in depths)], rows, []),
    }


def models(metrics: Metrics, shown: Mapping[str, Metric]) -> HtmlTable:
    """All models by all metrics, mean over the send dates; the best of each column stands out."""
    notes, names = Notes(), [REFERENCE, *baselines_of(metrics)]
    cells = {name: metrics["models"][name]["mean"]["all"] for name in names}
    best = {key: best_of([cells[name][key] for name in names], metric) for key, metric in shown.items()}
    rows = []
    for name in names:
        made = [measured(cells[name][key], metric, notes, best[key]) for key, metric in shown.items()]
        rows.append([Item(name_of(name)), *made])
    head, hints = [m.title for m in shown.values()], [m.meaning for m in shown.values()]
    return HtmlTable(["Model", *head], rows, notes.reasons, ["", *hints])


def differences(metrics: Metrics, shown: Mapping[str, Metric]) -> HtmlTable:
    """The network minus each rival, a row per metric, with verdicts."""
    notes, rows, rivals = Notes(), [], baselines_of(metrics)
    for key, metric in shown.items():
        if key == "revenue_lift":  # revenue reached once more, over the share mailed
            continue
        cells = [metrics["differences"][rival]["mean"]["all"][key] for rival in rivals]
        rows.append([Item(metric.title, metric.meaning), *(changed(cell, metric, notes) for cell in cells)])
    return HtmlTable(["Network minus", *map(name_of, rivals)], rows if rivals else [], notes.reasons)


def dates(metrics: Metrics, shown: Mapping[str, Metric]) -> dict[str, Any]:
    """Every send date on its own: the network, the incumbent and the difference."""
    baseline, notes, days = baseline_of(metrics), Notes(), list(metrics["counts"])
    wanted = [shown["revenue_capture"], shown["auc"]]
    rows = []
    for day in days:
        row = [Item(day)]
        for metric in wanted:
            row.append(measured(metrics["models"][REFERENCE][day]["all"][metric.key], metric, notes))
            if baseline:
                row.append(measured(metrics["models"][baseline][day]["all"][metric.key], metric, notes))
                row.append(changed(metrics["differences"][baseline][day]["all"][metric.key], metric, notes))
        rows.append(row)
    columns = ["network", name_of(baseline), "difference"] if baseline else ["network"]
    head = ["Send date", *(f"{metric.title}: {column}" for metric in wanted for column in columns)]
    return {"table": HtmlTable(head, rows, notes.reasons), "figures": _date_figures(metrics, shown, days, baseline)}


def slices(metrics: Metrics, shown: Mapping[str, Metric]) -> dict[str, Any]:
    """Where the mean hides something: the network, the incumbent and personal frequency, by slice."""
    notes, names, auc, baseline = Notes(), chosen_three(metrics), shown["auc"], baseline_of(metrics)
    given = [name for name in metrics["models"][REFERENCE]["mean"] if name != "all" and " / " not in name]
    plotted, rows = [], []
    for name in given:
        cells = {model: metrics["models"][model]["mean"][name] for model in names}
        title = SLICES.get(name, (name, ""))[0]
        plotted.append(Row(title, {model: cell["auc"] for model, cell in cells.items()}))
        row = [Item(title), Item(decimal(_positives(metrics, name), 0))]
        row += [measured(cells[model]["auc"], auc, notes) for model in names]
        if baseline:
            against = metrics["differences"][baseline]["mean"][name]
            row += [changed(against[key], shown[key], notes) for key in ("auc", "revenue_capture")]
        rows.append(row)
    head = ["Slice", "Purchases", *(f"AUC: {name_of(name)}" for name in names)]
    head += [f"{word}: against {name_of(baseline)}" for word in ("AUC", "Revenue reached")] if baseline else []
    named = {name: name_of(name) for name in names}
    drawn = dot_rows(plotted, named, auc, "AUC by slice, with its 95 % interval", difference=False) if plotted else ""
    return {"figure": drawn, "legend": legend(names, dot=True), "table": HtmlTable(head, rows, notes.reasons),
            "meaning": [SLICES.get(name, (name, name)) for name in given]}  # fmt: skip


def calibration(metrics: Metrics) -> dict[str, Any]:
    """Whether probabilities mean what they say, for every model whose scores are probabilities."""
    names = [REFERENCE, *baselines_of(metrics)]
    bins = {name: metrics["calibration"][name]["bins"] for name in names if metrics["calibration"][name]["bins"]}
    rows, notes = [], Notes()
    for name in names:
        if name in bins:
            given, came = (sum(row[k] * row["pairs"] for row in bins[name]) for k in ("predicted", "observed"))
            ratio = percent(given / came - 1) if came else DASH
            rows.append([Item(name_of(name)), Item(decimal(given, 0)), Item(decimal(came, 0)), Item(ratio)])
        else:
            reason = metrics["calibration"][name].get("reason", "no probabilities")
            rows.append([Item(name_of(name)), *[missing(reason, notes)] * 3])
    head = ["Model", "Purchases forecast", "Purchases made", "Forecast too high by"]
    drawn = [name for name in chosen_three(metrics) if name in bins]
    figure = reliability(bins, {name: name_of(name) for name in drawn}) if drawn else ""
    empty = sum(row["observed"] <= 0 or row["predicted"] <= 0 for name in drawn for row in bins[name])
    ours = [
        [Item(percent(row["predicted"], 3)), Item(percent(row["observed"], 3)), Item(decimal(row["pairs"], 0)),
         Item(decimal(row["predicted"] * row["pairs"], 1)), Item(decimal(row["observed"] * row["pairs"], 0))]
        for row in bins.get(REFERENCE, [])
    ]  # fmt: skip
    titles = ["Probability given", "Share that bought", "Pairs", "Purchases forecast", "Purchases made"]
    return {"figure": figure, "legend": legend(drawn), "empty": empty,
            "table": HtmlTable(head, rows, notes.reasons), "bins": HtmlTable(titles, ours, [])}  # fmt: skip


def data(metrics: Metrics) -> dict[str, HtmlTable | None]:
    """Where every raw row went, and what the figures of each date rest on."""
    rows = metrics["run"].get("rows") or {}
    went = [[Item(name), Item(decimal(rows[k], 0))] for k, name in (("in", "read"), ("used", "used")) if k in rows]
    left = [(way, rule, count) for way in UNUSED_OUTCOMES for rule, count in (rows.get(way) or {}).items()]
    went += [[Item(f"{way}: {rule}"), Item(decimal(count, 0))] for way, rule, count in left]
    head = ["Send date", "Customers", "Offers", "Judged", "Pairs", "Purchases", "Share of pairs", "Revenue"]
    days = []
    for day, c in metrics["counts"].items():
        whole = [c["customers"], c["offers"], c["slices"]["all"]["offers"], c["pairs"], c["positives"]]
        share = percent(c["positives"] / c["pairs"], 2) if c["pairs"] else DASH
        days.append([Item(day), *(Item(decimal(n, 0)) for n in whole), Item(share), Item(optional(c["revenue"], 0))])
    return {"rows": HtmlTable(["Rows", "Number"], went, []) if went else None, "dates": HtmlTable(head, days, [])}


def _date_figures(
    metrics: Metrics, shown: Mapping[str, Metric], days: list[str], baseline: str | None
) -> list[tuple[str, Markup]]:
    """A caption and a drawing each for revenue and AUC."""
    drawn, units = [], {"revenue_capture": "points of revenue" if baseline else "% of revenue", "auc": "AUC"}
    for key, unit in units.items():
        source = metrics["differences"][baseline] if baseline else metrics["models"][REFERENCE]
        rows = [Row(day, {REFERENCE: source[day]["all"][key]}) for day in days]
        caption = f"Network minus {name_of(baseline)}" if baseline else "Network"
        figure = dot_rows(rows, {REFERENCE: "Network"}, shown[key], unit, difference=baseline is not None)
        drawn.append((f"{caption}: {shown[key].title}", figure))
    return drawn


def _positives(metrics: Metrics, name: str) -> int:
    return sum(count["slices"][name]["positives"] for count in metrics["counts"].values())


def _depth(value: float | None) -> Item:
    return Item(DASH if value is None else percent(value))
