"""The customs against the network: the same number of messages, and the revenue left on the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from propensity.report.grid import SYMBOLS, HtmlTable, Item
from propensity.report.number import DASH, decimal, percent

CUSTOMS = {
    "rule": ("The marketer's rule", "who bought the offer in six months, newest first"),
    "segment": ("Segments", "K-means segments of behaviour, those that bought the offer most in 28 days first"),
}


def customs(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """A row per custom, and a sentence on each; None where no duel was held."""
    found = metrics.get("heuristics")
    if not found:
        return None
    head = ["Custom", "Messages", "Revenue it reaches", "The network, as many", "Left on the table", "Of the custom's"]
    return {
        "table": HtmlTable(head, [_row(name, each) for name, each in found.items()], []),
        "sentences": [sentence(name, each) for name, each in found.items()],
    }


def sentence(name: str, found: Mapping[str, Any]) -> str:
    """What a custom leaves on the table, in words."""
    title, left = CUSTOMS[name][0], found["left"]
    interval = f" [{decimal(left['low'], 0)}, {decimal(left['high'], 0)}]" if left["low"] is not None else ""
    volume = f"with the same {decimal(found['messages'], 0)} messages"
    more = f" ({_more(found)})" if found["audience"] > 0 else ""
    amount = f"{decimal(left['value'], 0)}{interval} of revenue left on the table"
    return f"{title} against the network {volume}: {amount}{more}"


def _more(found: Mapping[str, Any]) -> str:
    share = found["left"]["value"] / found["audience"]
    return ("+" if share > 0 else "") + percent(share)


def _row(name: str, found: Mapping[str, Any]) -> list[Item]:
    left = found["left"]
    bootstrap_interval = f"[{decimal(left['low'], 0)}, {decimal(left['high'], 0)}]" if left["low"] is not None else ""
    return [
        Item(*CUSTOMS[name]),
        Item(decimal(found["messages"], 0)),
        Item(decimal(found["audience"], 0)),
        Item(decimal(found["network"], 0)),
        Item(decimal(left["value"], 0), bootstrap_interval, verdict=SYMBOLS.get(left["verdict"] or "", "")),
        Item(_more(found) if found["audience"] > 0 else DASH),
    ]
