"""Heuristics comparison: the served model against a six-month rule and segments, with equal numbers of messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from propensity.champion.model_name import name_of, the
from propensity.metric.headline import served_model
from propensity.report.html_table import SYMBOLS, HtmlTable, TableCell
from propensity.report.number import DASH, currency_of, decimal, in_currency, percent

HEURISTICS = {
    "rule": ("Six-month rule", "customers who bought the offer in the last six months, most recent first"),
    "segment": (
        "Segments",
        "K-means segments of behaviour, in order of their purchases of the offer in the last 28 days",
    ),
}


def heuristics(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """A row and a sentence for each heuristic; None where no comparison was made."""
    comparisons = metrics.get("heuristics")
    if not comparisons:
        return None
    served, currency = the(served_model(metrics)), currency_of(metrics)
    money = [in_currency(title, currency) for title in ("Its revenue", f"Revenue of {served}", "Difference")]
    head = ["Heuristic", "Messages", *money, "Relative difference"]
    return {
        "table": HtmlTable(head, [_row(name, each) for name, each in comparisons.items()], []),
        "sentences": [sentence(metrics, name, each) for name, each in comparisons.items()],
    }


def sentence(metrics: Mapping[str, Any], name: str, comparison: Mapping[str, Any]) -> str:
    """The difference in revenue between the served model and a heuristic, as a sentence without a full stop."""
    difference, messages = comparison["difference"], decimal(comparison["messages"], 0)
    interval = f" {text}" if (text := _interval(difference)) else ""
    relative = f" ({_relative(comparison)})" if comparison["heuristic"] > 0 else ""
    title = HEURISTICS[name][0]
    return (
        f"{name_of(served_model(metrics))} minus {title[0].lower()}{title[1:]}, {messages} messages each: "
        f"{in_currency('revenue', currency_of(metrics))} "
        f"{decimal(difference['value'], 0, signed=True)}{interval}{relative}"
    )


def _interval(difference: Mapping[str, Any]) -> str:
    if difference["low"] is None:
        return ""
    return f"[{decimal(difference['low'], 0, signed=True)}, {decimal(difference['high'], 0, signed=True)}]"


def _relative(comparison: Mapping[str, Any]) -> str:
    share = comparison["difference"]["value"] / comparison["heuristic"]
    return ("+" if share > 0 else "") + percent(share)


def _row(name: str, comparison: Mapping[str, Any]) -> list[TableCell]:
    difference = comparison["difference"]
    verdict = SYMBOLS.get(difference["verdict"] or "", "")
    return [
        TableCell(*HEURISTICS[name]),
        *(TableCell(decimal(comparison[key], 0)) for key in ("messages", "heuristic", "network")),
        TableCell(decimal(difference["value"], 0, signed=True), _interval(difference), verdict=verdict),
        TableCell(_relative(comparison) if comparison["heuristic"] > 0 else DASH),
    ]
