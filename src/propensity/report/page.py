"""One HTML file that tells what a run is worth: needs no network and no other file, on a screen, a phone or paper."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from propensity.atomic import whole_file
from propensity.report import base, section
from propensity.report.age import decay
from propensity.report.money import customs
from propensity.report.number import DASH, Cell, Metric, decimal, metrics_of, percent
from propensity.report.offer import offers, over_dates
from propensity.report.verdict import REFERENCE, baseline_of, called, name_of, verdict_line, verdict_of

TEMPLATE, STYLE = "page.html.j2", "page.css"
OPTIONAL = ("config", "data", "end", "cutoffs", "examples", "commit", "libraries", "seed", "horizon", "rows")


def write_page(metrics: Mapping[str, Any], path: str | Path) -> None:
    """Writes the page of `metrics`, what `evaluate` returned plus `run`; the file is whole, or not there at all."""
    with whole_file(path) as draft:
        draft.write_text(page(metrics), encoding="utf-8")


def page(metrics: Mapping[str, Any]) -> str:
    """The page as text. Every name and number goes through the template, which escapes it."""
    metrics = {**metrics, "run": dict.fromkeys(OPTIONAL) | (metrics.get("run") or {})}
    fraction = kept_fraction(metrics)
    shown = metrics_of(fraction)
    environment = Environment(
        loader=FunctionLoader(_part), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    baseline = baseline_of(metrics)
    return environment.get_template(TEMPLATE).render(
        style=Markup(_part(STYLE)),
        line=verdict_line(metrics),
        verdict=verdict_of(metrics, shown, fraction),
        warnings=metrics.get("warnings", []),
        cards=cards(metrics, shown, fraction),
        best=percent(fraction, 0),
        curves=section.curves(metrics, shown, fraction),
        models=section.models(metrics, shown),
        differences=section.differences(metrics, shown),
        dates=section.dates(metrics, shown),
        slices=section.slices(metrics, shown),
        base=base.partition(metrics, shown),
        promises=base.promises(metrics),
        calibration=section.calibration(metrics),
        offers=offers(metrics),
        customs=customs(metrics),
        decay=decay(metrics, shown),
        data=section.data(metrics),
        glossary=list(shown.values()),
        baseline=name_of(baseline) if baseline else "",
        days=list(metrics["counts"]),
        early=in_sample(metrics),
        run=metrics["run"],
        again=again(metrics["run"]),
        settings="\n".join(settings(metrics["run"].get("config") or {})),
    )


def kept_fraction(metrics: Mapping[str, Any]) -> float:
    """The share of customers mailed, which revenue and its lift give away; a tenth where both are undefined.

    >>> cells = {"revenue_capture": {"value": .3}, "revenue_lift": {"value": 1.5}}
    >>> kept_fraction({"models": {"network": {"mean": {"all": cells}}}})
    0.2
    """
    cells = metrics["models"][REFERENCE]["mean"]["all"]
    capture, lift = cells["revenue_capture"]["value"], cells["revenue_lift"]["value"]
    return round(capture / lift, 6) if capture and lift else 0.1


def cards(metrics: Mapping[str, Any], shown: Mapping[str, Metric], fraction: float) -> list[dict[str, str]]:
    """The figures to remember: figure, title, and what to know about it."""
    cells, baseline = metrics["models"][REFERENCE]["mean"]["all"], baseline_of(metrics)
    share, lift, possible = shown["revenue_capture"], shown["revenue_lift"], shown["normalised_revenue_capture"]
    each, mailing = "for each offer, on average", f"of revenue reached with {percent(fraction, 0)} of the mailing"
    if baseline:
        cell = metrics["differences"][baseline]["mean"]["all"]["revenue_capture"]
        title = f"of revenue against {name_of(baseline)}"
        second = _card(cell, share.difference(cell), title, share.bootstrap_interval(cell, signed=True), called(cell))
    else:
        cell, title = cells["normalised_revenue_capture"], "of what perfect foresight would reach"
        second = _card(cell, possible.value(cell), title, possible.bootstrap_interval(cell), each)
    reach, times = cells["revenue_capture"], cells["revenue_lift"]
    return [
        _card(reach, share.value(reach), mailing, share.bootstrap_interval(reach), each),
        second,
        _card(
            times,
            lift.value(times),
            "the revenue of a random mailing",
            lift.bootstrap_interval(times),
            "for as many letters",
        ),
        _forecast(metrics),
    ]


def in_sample(metrics: Mapping[str, Any]) -> list[str]:
    """Send dates that lie before the end of the training labels: there the network had seen the answers."""
    end = metrics["run"].get("end")
    return [day for day in metrics["counts"] if end and day < str(end)[:10]]


def again(run: Mapping[str, Any]) -> str:
    """The command that makes a run once more and compares, or a backtest anew; nothing where its folder is not known.

    >>> again({"config": {"out": "runs/demo"}, "end": "2017-10-16"})
    'propensity reproduce run=runs/demo'
    """
    out = (run.get("config") or {}).get("out")
    if not out:
        return ""
    return f"propensity reproduce run={out}" if run.get("end") else f"propensity backtest out={out} ..."


def settings(config: Any, prefix: str = "") -> Iterator[str]:
    """A configuration as the overrides that make it, a line each.

    >>> list(settings({"data": {"horizon": 14}, "seed": 17}))
    ['data.horizon=14', 'seed=17']
    """
    if isinstance(config, Mapping) and config:
        for key, value in config.items():
            yield from settings(value, f"{prefix}.{key}" if prefix else str(key))
    elif prefix:
        yield f"{prefix}={config if isinstance(config, str) else json.dumps(config, default=str)}"


def _card(cell: Cell, figure: str, title: str, bootstrap_interval: str, about: str) -> dict[str, str]:
    below = cell["reason"] if cell["value"] is None else f"{bootstrap_interval} {about}".strip()
    return {"figure": figure, "title": title, "about": below}


def _forecast(metrics: Mapping[str, Any]) -> dict[str, str]:
    rows = over_dates(list(metrics["offers"].values()))
    given, came = [row["expected_buyers"] for row in rows], sum(row["buyers"] for row in rows)
    if None in given or not came:
        return {"title": "purchases forecast for 100 made", "figure": DASH, "about": "the scores are no probabilities"}
    about = f"{decimal(sum(given), 0)} forecast, {decimal(came, 0)} made"
    return {"title": "purchases forecast for 100 made", "figure": decimal(100 * sum(given) / came, 0), "about": about}


def _part(name: str) -> str:
    return files("propensity.report").joinpath(name).read_text(encoding="utf-8")
