"""The customer base in cells that add up to it: what each holds, what the network reaches there and promised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from propensity.metric.slice import CELLS, MARGINS
from propensity.report.grid import HtmlTable, Item, Notes, changed, measured, missing
from propensity.report.number import DASH, MetricFormat, decimal, percent
from propensity.report.verdict import REFERENCE, baseline_of, name_of

Metrics = Mapping[str, Any]
ADDED = ("pairs", "positives", "revenue")


def partition(metrics: Metrics, shown: Mapping[str, MetricFormat]) -> dict[str, Any] | None:
    """A row per cell that holds any pair, and one for all of them; None where the slices hold no partition."""
    if CELLS[0] not in metrics["models"][REFERENCE]["mean"]:
        return None
    notes, sums = Notes(), {name: added(metrics, name) for name in ("all", *CELLS)}
    filled = [name for name in CELLS if sums[name]["pairs"]]
    rows = [_row(metrics, shown, name, sums, notes) for name in (*filled, "all")]
    head = ["Customer / history / offer", "Pairs", "Purchases", "Revenue", "Judged", "Scored", "Times random"]
    baseline = baseline_of(metrics)
    head += [f"Against {name_of(baseline)}"] if baseline else []
    hints = [
        "",
        "",
        "",
        "",
        "share of the purchases in offers with buyers enough to judge",
        "share of pairs with a score",
    ]
    return {"table": HtmlTable(head, rows, notes.reasons, [*hints, "", ""]), "empty": len(CELLS) - len(filled)}


def added(metrics: Metrics, name: str) -> dict[str, float]:
    """What a slice holds, all send dates together."""
    inside = [count["slices"][name] for count in metrics["counts"].values()]
    return {key: sum(each[key] for each in inside) for key in ADDED}


def promises(metrics: Metrics) -> dict[str, HtmlTable]:
    """Expected against realised buyers and revenue of the network, by margin of the partition and by send date."""
    table = metrics["calibration"][REFERENCE]
    return {
        "slices": _promised("Slice", {name: table.get("slices", {}).get(name) for name in MARGINS}),
        "dates": _promised("Send date", table.get("dates", {})),
    }


def _promised(title: str, promised: Mapping[str, Mapping[str, Any] | None]) -> HtmlTable:
    head = [
        title,
        "Pairs",
        "Buyers expected",
        "came",
        "Ratio",
        "Revenue expected",
        "came",
        "Ratio",
        "Calibration error",
    ]
    rows = []
    for name, kept in promised.items():
        if not kept or not kept["pairs"]:
            continue
        row = [Item(name.replace(" / any", "").replace("any / ", "")), Item(decimal(kept["pairs"], 0))]
        for key in ("buyers", "revenue"):
            row += _against(kept[f"expected_{key}"], kept[key])
        rows.append([*row, Item(decimal(kept["ece"], 4))])
    return HtmlTable(head, rows, [])


def _against(expected: float | None, came: float) -> Iterable[Item]:
    ratio = DASH if expected is None or not came else decimal(expected / came, 2)
    return Item(DASH if expected is None else decimal(expected, 0)), Item(decimal(came, 0)), Item(ratio)


def _row(
    metrics: Metrics,
    shown: Mapping[str, MetricFormat],
    name: str,
    sums: Mapping[str, Mapping[str, float]],
    notes: Notes,
) -> list[Item]:
    lift, whole = shown["revenue_lift"], sums["all"]
    row = [Item("all of them" if name == "all" else name.removesuffix(" / known item"))]
    for key in ADDED:
        share = percent(sums[name][key] / whole[key]) if whole[key] and name != "all" else ""
        row.append(Item(decimal(sums[name][key], 0), share))
    row += [_share(metrics, name, "judged", notes), _share(metrics, name, "coverage", notes)]
    row.append(measured(metrics["models"][REFERENCE]["mean"][name]["revenue_lift"], lift, notes))
    if baseline := baseline_of(metrics):
        row.append(changed(metrics["differences"][baseline]["mean"][name]["revenue_lift"], lift, notes))
    return row


def _share(metrics: Metrics, name: str, key: str, notes: Notes) -> Item:
    """The plain mean over the dates that have one: judged purchases, or pairs that the network scored."""
    given = [count["slices"][name][key] for count in metrics["counts"].values()]
    asked = (each.get(REFERENCE) if isinstance(each, Mapping) else each for each in given)
    known = [float(each) for each in asked if each is not None]
    if not known:
        return missing("nobody bought anything there" if key == "judged" else "no pair lies there", notes)
    return Item(percent(sum(known) / len(known), 0))
