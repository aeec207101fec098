"""The verdict in words: win, tie or loss against the strongest baseline, and which model is served and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from propensity.champion.model_name import NAMES as NAMES
from propensity.champion.model_name import NETWORK, in_text, reason_in_text, the
from propensity.champion.model_name import name_of as name_of
from propensity.metric.headline import METRIC, RANKING, served_model
from propensity.report.number import GAP, Cell, MetricFormat, decimal, percent

VERBS = {"win": "wins against", "tie": "ties with", "loss": "loses to"}


class Verdict(NamedTuple):
    """What the best customers hold, how the served model compares with the strongest baseline, and the values behind.

    `kind` is win, tie or loss where revenue capture and AUC agree, mixed where they differ, none without a verdict.
    """

    kind: str
    reach: str
    headline: str
    sentences: list[str]


def baselines_of(metrics: Mapping[str, Any]) -> list[str]:
    """Every model but the served one: best revenue lift first, the headline's metric, then best AUC; undefined last."""
    served = served_model(metrics)

    def rank(name: str) -> tuple[float, ...]:
        values = (metrics["models"][name]["mean"]["all"][metric]["value"] for metric in (METRIC, RANKING))
        return tuple(1.0 if value is None else -value for value in values)

    return sorted((name for name in metrics["models"] if name != served), key=rank)


def served_words(metrics: Mapping[str, Any]) -> str:
    """Which model is served and why, as a sentence; empty where no champion was chosen."""
    champion = metrics.get("champion")
    if not champion:
        return ""
    served = str(champion["name"])
    reason = reason_in_text(str(champion.get("reason") or "")).strip().rstrip(".")
    sentence = f"Served model: {in_text(served)}{f', because {reason}' if reason else ''}."
    if served == NETWORK or NETWORK not in metrics["models"]:
        return sentence
    return f"{sentence} The network is not served; its scores are in network.parquet."


def baseline_of(metrics: Mapping[str, Any]) -> str | None:
    """The baseline that the verdict is about: the one with the best revenue lift; None without baselines."""
    headline = metrics.get("headline")
    return headline["baseline"] if headline else None


def main_models(metrics: Mapping[str, Any]) -> list[str]:
    """The served model, the strongest baseline and personal frequency, as far as they were evaluated."""
    served = served_model(metrics)
    wanted = [served, baseline_of(metrics) or served, "frequency"]
    return [name for name in dict.fromkeys(wanted) if name in metrics["models"]]


def verdict_line(metrics: Mapping[str, Any]) -> str:
    """The verdict as one line: difference in revenue lift, the same winsorised, and the power of the test."""
    headline = metrics.get("headline")
    if not headline:
        return "no verdict: no baseline was evaluated"
    parts = [f"{headline['verdict'] or 'no verdict'} against {name_of(headline['baseline'])}"]
    if headline["value"] is not None:
        title = metrics["metrics"][headline["metric"]]["title"]
        parts[0] += f": {title[0].lower()}{title[1:]} {_signed(headline)}"
    if headline["winsorised"]["value"] is not None:
        parts.append(f"winsorised {_signed(headline['winsorised'])}")
    if headline["underpowered"]:
        parts.append(f"underpowered: {'; '.join(headline['weaknesses'])}")
    elif headline["minimum_detectable_effect"] is not None:
        parts.append(f"minimum detectable effect {headline['minimum_detectable_effect']:.2f}")
    return "; ".join(parts).replace(GAP, " ")


def _signed(cell: Cell) -> str:
    value = decimal(cell["value"], 3, signed=True)
    if cell["low"] is None:
        return value
    return f"{value} [{decimal(cell['low'], 3, True)}, {decimal(cell['high'], 3, True)}]"


def verdict_of(metrics: Mapping[str, Any], shown: Mapping[str, MetricFormat]) -> Verdict:
    """The headline, and the sentences under it."""
    baseline, reach = baseline_of(metrics), _reach(metrics, shown)
    if baseline is None:
        alone = "No baseline was evaluated, so there is no comparison."
        return Verdict("none", reach, alone, _filled(_captures(metrics, shown)))
    cells = metrics["differences"][baseline]["mean"]["all"]
    verdicts = cells["revenue_capture"].get("verdict"), cells["auc"].get("verdict")
    sentences = _filled(_captures(metrics, shown), _ranking(metrics, shown, baseline), _by_cutoff(metrics, baseline))
    return Verdict(
        _kind(*verdicts), reach, _headline(the(served_model(metrics)), name_of(baseline), *verdicts), sentences
    )


def verdict_word(cell: Cell) -> str:
    """`win`, `tie`, `loss`, or that there is none."""
    return cell.get("verdict") or "no interval, so no verdict"


def _kind(revenue: str | None, ranking: str | None) -> str:
    if revenue is None or ranking is None:
        return revenue or ranking or "none"
    return revenue if revenue == ranking else "mixed"


def _headline(served: str, baseline: str, revenue: str | None, ranking: str | None) -> str:
    if revenue is None and ranking is None:
        return f"There is no verdict against {baseline}: the difference has no interval."
    subject = f"{served[0].upper()}{served[1:]}"
    if revenue == ranking:
        return f"{subject} {VERBS[str(revenue)]} {baseline} on revenue capture and on AUC."
    parts = []
    for kind, topic in ((revenue, "revenue capture"), (ranking, "AUC")):
        parts.append(
            f"{VERBS[kind]} {baseline} on {topic}" if kind else f"has no verdict against {baseline} on {topic}"
        )
    return f"{subject} {parts[0]}, and {parts[1]}."


def _filled(*sentences: str) -> list[str]:
    return [sentence for sentence in sentences if sentence]


def _reach(metrics: Mapping[str, Any], shown: Mapping[str, MetricFormat]) -> str:
    cells, share = metrics["models"][served_model(metrics)]["mean"]["all"], percent(metrics["fraction"], 0)
    if cells["revenue_capture"]["value"] is None:
        return f"Revenue capture is undefined: {cells['revenue_capture']['reason']}."
    capture = shown["revenue_capture"].value(cells["revenue_capture"])
    lift = shown["revenue_lift"].written(cells["revenue_lift"]["value"])
    return f"The best {share} of customers for each offer hold {capture} of its revenue: a revenue lift of {lift}."


def _captures(metrics: Mapping[str, Any], shown: Mapping[str, MetricFormat]) -> str:
    """Revenue capture of the served model with its interval, and of the main baselines with the difference to them."""
    served, capture = served_model(metrics), shown["revenue_capture"]
    ours = metrics["models"][served]["mean"]["all"]["revenue_capture"]
    if ours["value"] is None:
        return ""
    parts = [f"{capture.title}: {in_text(served)} {capture.value(ours)} {capture.interval(ours)}".strip()]
    for baseline in main_models(metrics)[1:]:
        cell = metrics["models"][baseline]["mean"]["all"]["revenue_capture"]
        difference = metrics["differences"][baseline]["mean"]["all"]["revenue_capture"]
        if cell["value"] is not None and difference["value"] is not None:
            parts.append(f"{name_of(baseline)} {capture.value(cell)} (difference {_difference(capture, difference)})")
    return "; ".join(parts) + "."


def _ranking(metrics: Mapping[str, Any], shown: Mapping[str, MetricFormat], baseline: str) -> str:
    served = served_model(metrics)
    ours, theirs = (metrics["models"][name]["mean"]["all"]["auc"] for name in (served, baseline))
    difference, auc = metrics["differences"][baseline]["mean"]["all"]["auc"], shown["auc"]
    if difference["value"] is None:
        return f"AUC cannot be compared: {difference['reason']}."
    baseline_value = f"{name_of(baseline)} {auc.value(theirs)} (difference {_difference(auc, difference)})"
    return f"AUC: {in_text(served)} {auc.value(ours)}; {baseline_value}."


def _by_cutoff(metrics: Mapping[str, Any], baseline: str) -> str:
    """At how many cutoffs the served model is better: the interval covers customers, not weeks."""
    days = list(metrics["counts"])
    ahead = [_ahead(metrics, baseline, days, metric) for metric in ("revenue_capture", "auc")]
    if len(days) < 2 or None in ahead:
        return ""
    revenue, auc = (f"{count} of {len(days)} cutoffs" for count in ahead)
    return f"Better than {name_of(baseline)} at {revenue} on revenue capture, at {auc} on AUC."


def _ahead(metrics: Mapping[str, Any], baseline: str, days: Sequence[str], metric: str) -> int | None:
    values = [metrics["differences"][baseline][day]["all"][metric]["value"] for day in days]
    return None if None in values else sum(value > 0 for value in values)


def _difference(metric: MetricFormat, difference: Cell) -> str:
    value = f"{metric.difference(difference)} {metric.interval(difference, signed=True)}".strip()
    return f"{value}: {verdict_word(difference)}"
