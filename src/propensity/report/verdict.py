"""What the comparison comes to, in plain words: a tie is called a tie, and a missing interval is no verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from propensity.report.number import Cell, MetricFormat, decimal, percent

REFERENCE = "network"
NAMES = {
    "network": "Network",
    "lightgbm": "LightGBM",
    "frequency": "Personal frequency",
    "logistic": "Logistic regression",
    "popularity": "Popularity",
    "oracle": "Perfect foresight",
}
ACTS = {"win": "wins against", "tie": "ties with", "loss": "loses to"}
CALLED = {"win": "a win", "tie": "a tie", "loss": "a loss"}


class Verdict(NamedTuple):
    """What a mailing reaches, how the network compares, and the figures behind both.

    `kind` is win, tie or loss where revenue and AUC agree, mixed where they differ, none where neither has a verdict.
    """

    kind: str
    reach: str
    headline: str
    sentences: list[str]


def name_of(model: str) -> str:
    return NAMES.get(model, model)


def baselines_of(metrics: Mapping[str, Any]) -> list[str]:
    """Every model but the network, strongest first; those without an AUC last."""
    auc = {name: cells["mean"]["all"]["auc"]["value"] for name, cells in metrics["models"].items() if name != REFERENCE}
    return sorted(auc, key=lambda name: -1.0 if auc[name] is None else -auc[name])


def baseline_of(metrics: Mapping[str, Any]) -> str | None:
    """The rival that the verdict is about: the strongest by AUC; None without rivals."""
    headline = metrics.get("headline")
    return headline["baseline"] if headline else None


def chosen_three(metrics: Mapping[str, Any]) -> list[str]:
    """The network, the incumbent and personal frequency, as far as they are there."""
    wanted = [REFERENCE, baseline_of(metrics) or REFERENCE, "frequency"]
    return [name for name in dict.fromkeys(wanted) if name in metrics["models"]]


def verdict_line(metrics: Mapping[str, Any]) -> str:
    """The verdict as one line: word, difference in revenue lift with its interval, the same capped, and its power."""
    headline = metrics.get("headline")
    if not headline:
        return "no verdict: no other model was asked"
    word, rival = headline["verdict"] or "no verdict", name_of(headline["baseline"])
    parts = [f"{word} against {rival}"]
    if headline["value"] is not None:
        parts[0] += f": revenue lift {_signed(headline)}"
    if headline["winsorised"]["value"] is not None:
        parts.append(f"largest amounts capped {_signed(headline['winsorised'])}")
    if headline["underpowered"]:
        parts.append(f"underpowered: {'; '.join(headline['weaknesses'])}")
    elif headline["minimum_detectable_effect"] is not None:
        parts.append(f"a difference of {headline['minimum_detectable_effect']:.2f} would have been seen")
    return "; ".join(parts)


def _signed(cell: Cell) -> str:
    bootstrap_interval = (
        f" [{decimal(cell['low'], 3, True)}, {decimal(cell['high'], 3, True)}]" if cell["low"] is not None else ""
    )
    return decimal(cell["value"], 3, signed=True) + bootstrap_interval


def verdict_of(metrics: Mapping[str, Any], shown: Mapping[str, MetricFormat], fraction: float) -> Verdict:
    """The headline, and the sentences under it."""
    baseline, reach = baseline_of(metrics), _reach(metrics, shown, fraction)
    if baseline is None:
        alone = "No other model was asked, so there is nothing to compare with."
        return Verdict("none", reach, alone, _filled(_shares(metrics, shown)))
    cells = metrics["differences"][baseline]["mean"]["all"]
    found = cells["revenue_capture"].get("verdict"), cells["auc"].get("verdict")
    said = _filled(_shares(metrics, shown), _ranking(metrics, shown, baseline), _dates(metrics, baseline))
    return Verdict(_kind(*found), reach, _headline(name_of(baseline), *found), said)


def called(cell: Cell) -> str:
    """`a win`, `a tie`, `a loss`, or that there is none."""
    return CALLED.get(cell.get("verdict") or "", "no interval, so no verdict")


def _kind(revenue: str | None, ranking: str | None) -> str:
    if revenue is None or ranking is None:
        return revenue or ranking or "none"
    return revenue if revenue == ranking else "mixed"


def _headline(rival: str, revenue: str | None, ranking: str | None) -> str:
    if revenue is None and ranking is None:
        return f"There is no verdict against {rival}: the difference has no interval."
    if revenue == ranking:
        return f"The network {ACTS[str(revenue)]} {rival}, both on revenue and on ranking buyers."
    parts = []
    for kind, topic in ((revenue, "revenue"), (ranking, "ranking buyers")):
        parts.append(f"{ACTS[kind]} {rival} on {topic}" if kind else f"has no verdict against {rival} on {topic}")
    return f"The network {parts[0]}, and {parts[1]}."


def _filled(*sentences: str) -> list[str]:
    return [sentence for sentence in sentences if sentence]


def _reach(metrics: Mapping[str, Any], shown: Mapping[str, MetricFormat], fraction: float) -> str:
    cells = metrics["models"][REFERENCE]["mean"]["all"]
    capture, lift = shown["revenue_capture"], shown["revenue_lift"]
    if cells["revenue_capture"]["value"] is None:
        return f"What a mailing reaches cannot be said: {cells['revenue_capture']['reason']}."
    times = f"{lift.written(cells['revenue_lift']['value'])} times a random mailing"
    best = percent(fraction, 0)
    reached = f"{capture.value(cells['revenue_capture'])} of its revenue, {times}"
    return f"Mail the best {best} of customers for each offer and you reach {reached}."


def _shares(metrics: Mapping[str, Any], shown: Mapping[str, MetricFormat]) -> str:
    """Revenue reached by the network, with its interval, and by the rivals that matter, against it."""
    ours, capture = metrics["models"][REFERENCE]["mean"]["all"]["revenue_capture"], shown["revenue_capture"]
    if ours["value"] is None:
        return ""
    parts = [f"The network reaches {capture.value(ours)} {capture.interval(ours)}".strip()]
    for rival in chosen_three(metrics)[1:]:
        cell = metrics["models"][rival]["mean"]["all"]["revenue_capture"]
        difference = metrics["differences"][rival]["mean"]["all"]["revenue_capture"]
        if cell["value"] is not None and difference["value"] is not None:
            parts.append(f"{name_of(rival)} {capture.value(cell)} (difference {_against(capture, difference)})")
    return "; ".join(parts) + "."


def _ranking(metrics: Mapping[str, Any], shown: Mapping[str, MetricFormat], baseline: str) -> str:
    ours, theirs = (metrics["models"][name]["mean"]["all"]["auc"] for name in (REFERENCE, baseline))
    difference, auc = metrics["differences"][baseline]["mean"]["all"]["auc"], shown["auc"]
    if difference["value"] is None:
        return f"Ranking cannot be compared: {difference['reason']}."
    level = f"{auc.value(ours)} against {auc.value(theirs)} of {name_of(baseline)}"
    return f"Its AUC, how well buyers are ranked, is {level} (difference {_against(auc, difference)})."


def _dates(metrics: Mapping[str, Any], baseline: str) -> str:
    """The interval covers customers, not weeks: so the sign at every date."""
    days = list(metrics["counts"])
    ahead = [_ahead(metrics, baseline, days, metric) for metric in ("revenue_capture", "auc")]
    if len(days) < 2 or None in ahead:
        return ""
    revenue, auc = (f"{count} of {len(days)} send dates" for count in ahead)
    return f"Against {name_of(baseline)} it is ahead on revenue at {revenue}, on AUC at {auc}."


def _ahead(metrics: Mapping[str, Any], baseline: str, days: Sequence[str], metric: str) -> int | None:
    values = [metrics["differences"][baseline][day]["all"][metric]["value"] for day in days]
    return None if None in values else sum(value > 0 for value in values)


def _against(metric: MetricFormat, difference: Cell) -> str:
    bootstrap_interval = metric.interval(difference, signed=True)
    return (
        f"{metric.difference(difference)}{' ' + bootstrap_interval if bootstrap_interval else ''}: {called(difference)}"
    )
