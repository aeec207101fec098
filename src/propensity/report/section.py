"""The page's tables and drawings, section by section, as plain values a template fills in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from propensity.metric.interval import LOWER_IS_BETTER
from propensity.report.chart import swatch
from propensity.report.figure import Row, dot_rows, look, reliability, revenue_curves
from propensity.report.number import DASH, Cell, Metric, decimal, optional, percent
from propensity.report.verdict import REFERENCE, chosen_three, incumbent_of, name_of, rivals_of

Metrics = Mapping[str, Any]
SLICES = {
    "new": ("New", "customer and offer pairs with no purchase before the send date"),
    "lapsed": ("Lapsed", "pairs with an earlier purchase, but none in the last 91 days"),
    "repeat": ("Repeat", "pairs with an earlier purchase at any time"),
    "dormant": ("Dormant", "customers who bought nothing at all in the last 28 days"),
    "light": ("Light", "the half of the customers with the fewest orders"),
}
SYMBOLS = {"win": "▲ win", "tie": "● tie", "loss": "▼ loss"}


class Item(NamedTuple):
    """One place of a table: the text, a smaller line below, whether it stands out, a verdict, a note's number."""

    text: str
    below: str = ""
    best: bool = False
    verdict: str = ""
    note: int = 0
    reason: str = ""


class Notes:
    """Reasons why numbers are missing, numbered in the order in which a table meets them."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def number(self, reason: str) -> int:
        if reason not in self.reasons:
            self.reasons.append(reason)
        return self.reasons.index(reason) + 1


class Table(NamedTuple):
    head: list[str]
    rows: list[list[Item]]
    notes: list[str]
    hints: list[str] = []  # what a column means, shown on its title


class Key(NamedTuple):
    swatch: Markup
    name: str
    figure: str = ""


def legend(names: Sequence[str], figures: Mapping[str, str] | None = None, dot: bool = False) -> list[Key]:
    return [Key(swatch(look(name), dot), name_of(name), (figures or {}).get(name, "")) for name in names]


def curves(metrics: Metrics, shown: Mapping[str, Metric], fraction: float) -> dict[str, Any]:
    """The revenue curves, whole and enlarged, their legend, and the same as numbers."""
    names = [REFERENCE, *rivals_of(metrics), "oracle"]
    named = {name: name_of(name) for name in names}
    reached = {name: cells["mean"]["all"]["capture"] for name, cells in metrics["models"].items()}
    reached["oracle"] = metrics["models"][REFERENCE]["mean"]["all"]["capture_oracle"]
    figures = {name: shown["capture"].value(cell) for name, cell in reached.items()}
    depths = [n for n in (1, 2, 5, 10, 20, 30, 50) if n < len(metrics["curves"][REFERENCE]["share"])]
    rows = [[Item(named[name]), *(_depth(metrics["curves"][name]["macro"][n]) for n in depths)] for name in names]
    rows.append([Item("Random mailing"), *(_depth(n / 100) for n in depths)])
    return {
        "whole": revenue_curves(metrics["curves"], named, fraction),
        "start": revenue_curves(metrics["curves"], named, fraction, reach=max(0.2, min(2 * fraction, 1.0))),
        "legend": legend(names, figures),
        "table": Table(["Customers mailed", *(percent(n / 100, 0) for n in depths)], rows, []),
    }


def models(metrics: Metrics, shown: Mapping[str, Metric]) -> Table:
    """All models by all metrics, mean over the send dates; the best of each column stands out."""
    notes, names = Notes(), [REFERENCE, *rivals_of(metrics)]
    cells = {name: metrics["models"][name]["mean"]["all"] for name in names}
    best = {key: _best([cells[name][key] for name in names], metric) for key, metric in shown.items()}
    rows = []
    for name in names:
        made = [_item(cells[name][key], metric, notes, best[key]) for key, metric in shown.items()]
        rows.append([Item(name_of(name)), *made])
    return Table(["Model", *(m.title for m in shown.values())], rows, notes.reasons, ["", *(m.meaning for m in shown.values())])


def differences(metrics: Metrics, shown: Mapping[str, Metric]) -> Table:
    """The network minus each rival, with verdicts."""
    notes, rows = Notes(), []
    for rival in rivals_of(metrics):
        cells = metrics["differences"][rival]["mean"]["all"]
        rows.append([Item(name_of(rival)), *(_change(cells[key], metric, notes) for key, metric in shown.items())])
    head = ["Network minus", *(metric.title for metric in shown.values())]
    return Table(head, rows, notes.reasons, ["", *(metric.meaning for metric in shown.values())])


def dates(metrics: Metrics, shown: Mapping[str, Metric]) -> dict[str, Any]:
    """Every send date on its own: the network, the incumbent and the difference."""
    incumbent, notes, days = incumbent_of(metrics), Notes(), list(metrics["counts"])
    wanted = [shown["capture"], shown["auc"]]
    rows = []
    for day in days:
        row = [Item(day)]
        for metric in wanted:
            row.append(_item(metrics["models"][REFERENCE][day]["all"][metric.key], metric, notes))
            if incumbent:
                row.append(_item(metrics["models"][incumbent][day]["all"][metric.key], metric, notes))
                row.append(_change(metrics["differences"][incumbent][day]["all"][metric.key], metric, notes))
        rows.append(row)
    columns = ["network", name_of(incumbent), "difference"] if incumbent else ["network"]
    head = ["Send date", *(f"{metric.title}: {column}" for metric in wanted for column in columns)]
    return {"table": Table(head, rows, notes.reasons), "figures": _date_figures(metrics, shown, days, incumbent)}


def slices(metrics: Metrics, shown: Mapping[str, Metric]) -> dict[str, Any]:
    """Where the mean hides something: the network, the incumbent and personal frequency, by slice."""
    notes, names, auc, incumbent = Notes(), chosen_three(metrics), shown["auc"], incumbent_of(metrics)
    given = [name for name in metrics["models"][REFERENCE]["mean"] if name != "all"]
    plotted, rows = [], []
    for name in given:
        cells = {model: metrics["models"][model]["mean"][name] for model in names}
        title, meaning = SLICES.get(name, (name, ""))
        plotted.append(Row(title, {model: cell["auc"] for model, cell in cells.items()}))
        row = [Item(title, meaning), Item(decimal(_positives(metrics, name), 0))]
        row += [_item(cells[model]["auc"], auc, notes) for model in names]
        if incumbent:
            against = metrics["differences"][incumbent]["mean"][name]
            row += [_change(against[key], shown[key], notes) for key in ("auc", "capture")]
        rows.append(row)
    head = ["Slice", "Purchases", *(f"AUC: {name_of(name)}" for name in names)]
    head += [f"{word}: against {name_of(incumbent)}" for word in ("AUC", "Revenue reached")] if incumbent else []
    named = {name: name_of(name) for name in names}
    drawn = dot_rows(plotted, named, auc, "AUC by slice, with its 95 % interval", difference=False) if plotted else ""
    return {"figure": drawn, "legend": legend(names, dot=True), "table": Table(head, rows, notes.reasons)}


def calibration(metrics: Metrics) -> dict[str, Any]:
    """Whether probabilities mean what they say, for every model whose scores are probabilities."""
    names = [REFERENCE, *rivals_of(metrics)]
    bins = {name: metrics["calibration"][name]["bins"] for name in names if metrics["calibration"][name]["bins"]}
    rows, notes = [], Notes()
    for name in names:
        if name in bins:
            given, came = (sum(row[k] * row["pairs"] for row in bins[name]) for k in ("predicted", "observed"))
            ratio = percent(given / came - 1) if came else DASH
            rows.append([Item(name_of(name)), Item(decimal(given, 0)), Item(decimal(came, 0)), Item(ratio)])
        else:
            note = notes.number(metrics["calibration"][name].get("reason", "no probabilities"))
            rows.append([Item(name_of(name)), *[Item(DASH, note=note)] * 3])
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
            "table": Table(head, rows, notes.reasons), "bins": Table(titles, ours, [])}  # fmt: skip


def data(metrics: Metrics) -> dict[str, Table | None]:
    """Where every raw row went, and what the figures of each date rest on."""
    rows = metrics["run"].get("rows") or {}
    went = [[Item(name), Item(decimal(rows[k], 0))] for k, name in (("in", "read"), ("used", "used")) if k in rows]
    went += [[Item(f"left out: {rule}"), Item(decimal(count, 0))] for rule, count in (rows.get("dropped") or {}).items()]
    head = ["Send date", "Customers", "Offers", "of them judged", "Pairs", "Purchases", "Share of pairs", "Revenue"]
    days = []
    for day, c in metrics["counts"].items():
        whole = [c["customers"], c["offers"], c["slices"]["all"]["offers"], c["pairs"], c["positives"]]
        share = percent(c["positives"] / c["pairs"], 2) if c["pairs"] else DASH
        days.append([Item(day), *(Item(decimal(n, 0)) for n in whole), Item(share), Item(optional(c["revenue"], 0))])
    return {"rows": Table(["Rows", "Number"], went, []) if went else None, "dates": Table(head, days, [])}


def _date_figures(metrics: Metrics, shown: Mapping[str, Metric], days: list[str], incumbent: str | None) -> list[Markup]:
    drawn = []
    for key, words in (("capture", "revenue reached, points"), ("auc", "AUC")):
        source = metrics["differences"][incumbent] if incumbent else metrics["models"][REFERENCE]
        rows = [Row(day, {REFERENCE: source[day]["all"][key]}) for day in days]
        title = f"network minus {name_of(incumbent)}: {words}" if incumbent else f"network: {words}"
        drawn.append(dot_rows(rows, {REFERENCE: "Network"}, shown[key], title, difference=incumbent is not None))
    return drawn


def _positives(metrics: Metrics, name: str) -> int:
    return sum(count["slices"][name]["positives"] for count in metrics["counts"].values())


def _depth(value: float | None) -> Item:
    return Item(DASH if value is None else percent(value))


def _best(cells: Sequence[Cell], metric: Metric) -> str:
    """The best value as written, so that equals at the digits shown all stand out; nothing among fewer than two."""
    known = [cell["value"] for cell in cells if cell["value"] is not None]
    if len(known) < 2:
        return ""
    return metric.written(min(known) if metric.key in LOWER_IS_BETTER else max(known))


def _item(cell: Cell, metric: Metric, notes: Notes, best: str = "") -> Item:
    if cell["value"] is None:
        return Item(DASH, note=notes.number(cell["reason"]), reason=cell["reason"])
    return Item(metric.value(cell), metric.band(cell), bool(best) and metric.written(cell["value"]) == best)


def _change(cell: Cell, metric: Metric, notes: Notes) -> Item:
    if cell["value"] is None:
        return Item(DASH, note=notes.number(cell["reason"]), reason=cell["reason"])
    return Item(metric.difference(cell), metric.band(cell, signed=True), verdict=SYMBOLS.get(cell.get("verdict") or "", ""))
