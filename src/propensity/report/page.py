"""The report page: one HTML file that needs no network and no other file, for a screen, a phone or paper."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from propensity.atomic import whole_file
from propensity.champion.model_name import name_of, the
from propensity.metric.headline import served_model
from propensity.report import partition, section
from propensity.report.curve import learning_curves
from propensity.report.decay import decay
from propensity.report.expected_over_observed import expected_and_observed, expected_over_observed
from propensity.report.heuristic import heuristics
from propensity.report.number import Cell, MetricFormat, currency_of, percent, shown_metrics
from propensity.report.offer import offers
from propensity.report.reliance import reliance_table
from propensity.report.verdict import baseline_of, served_words, verdict_line, verdict_of, verdict_word
from propensity.training.curve import load_curves

TEMPLATE, STYLE = "page.html.j2", "page.css"
OPTIONAL = (
    "config",
    "source",
    "data",
    "end",
    "last_label",
    "cutoffs",
    "examples",
    "commit",
    "libraries",
    "seed",
    "horizon",
    "rows",
)


def write_page(metrics: Mapping[str, Any], path: str | Path) -> None:
    """Writes the page of `metrics`, the result of `evaluate` with `run`; the file appears whole or not at all."""
    training = learning_curves(load_curves(Path(path).parent))
    with whole_file(path) as draft:
        draft.write_text(page(metrics, training), encoding="utf-8")


def page(metrics: Mapping[str, Any], training: Markup | None = None) -> str:
    """The page as text, with the learning curves of `training`. The template escapes every name and number."""
    metrics = {**metrics, "run": dict.fromkeys(OPTIONAL) | (metrics.get("run") or {})}
    shown, run, baseline = shown_metrics(metrics), metrics["run"], baseline_of(metrics)
    environment = Environment(
        loader=FunctionLoader(_part), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(TEMPLATE).render(
        style=Markup(_part(STYLE)),
        line=verdict_line(metrics),
        verdict=verdict_of(metrics, shown),
        warnings=metrics.get("warnings", []),
        cards=cards(metrics, shown),
        fraction=percent(metrics["fraction"], 0),
        titles={name: metric.title for name, metric in shown.items()},
        curves=section.curves(metrics, shown),
        models=section.models(metrics, shown),
        differences=section.differences(metrics, shown),
        cutoffs=section.cutoffs(metrics, shown),
        slices=section.slices(metrics, shown),
        partition=partition.partition(metrics, shown),
        expected=expected_and_observed(metrics),
        totals=expected_over_observed(metrics),
        calibration=section.calibration(metrics),
        offers=offers(metrics),
        heuristics=heuristics(metrics),
        decay=decay(metrics, shown),
        reliance=reliance_table(metrics),
        data=section.data(metrics),
        training=training,
        glossary=list(shown.values()),
        baseline=name_of(baseline) if baseline else "",
        days=list(metrics["counts"]),
        served=the(served_model(metrics)),
        served_name=name_of(served_model(metrics)),
        served_words=served_words(metrics),
        candidates=section.candidates(metrics),
        currency=currency_of(metrics),
        run=run,
        command=command(run),
        settings="\n".join(settings(run.get("config") or {})),
    )


def cards(metrics: Mapping[str, Any], shown: Mapping[str, MetricFormat]) -> list[dict[str, str]]:
    """The main values: text, title, and the interval or reason below."""
    cells, baseline = metrics["models"][served_model(metrics)]["mean"]["all"], baseline_of(metrics)
    lift = shown["revenue_lift"]
    if baseline:
        cell = metrics["differences"][baseline]["mean"]["all"]["revenue_lift"]
        below = f"{lift.interval(cell, signed=True)} {verdict_word(cell)}".strip()
        second = _card(cell, lift.difference(cell), f"{lift.title}: minus {name_of(baseline)}", below)
    else:
        second = _value_card(cells["normalised_revenue_capture"], shown["normalised_revenue_capture"])
    ratios = ("expected_over_observed", "expected_over_observed_revenue")
    return [
        _value_card(cells["revenue_lift"], lift),
        second,
        *(_value_card(cells[name], shown[name]) for name in ratios),
    ]


def command(run: Mapping[str, Any]) -> str:
    """The command that trains a run again and compares, or repeats a backtest; empty where its folder is not known.

    >>> command({"config": {"out": "runs/demo"}, "end": "2017-10-16"})
    'propensity reproduce run=runs/demo'
    """
    out = (run.get("config") or {}).get("out")
    if not out:
        return ""
    return f"propensity reproduce run={out}" if run.get("end") else f"propensity backtest out={out} ..."


def settings(config: Mapping[str, Any]) -> Iterator[str]:
    """A configuration as the overrides that make it, a line each.

    Settings of the source are left out where the run read a prepared log (`data.log`): they were not used.

    >>> list(settings({"data": {"log": "data/shop", "source": {"seed": 1}, "horizon": 14}, "seed": 17}))
    ['data.log=data/shop', 'data.horizon=14', 'seed=17']
    """
    data = config.get("data")
    if isinstance(data, Mapping) and data.get("log"):
        config = {**config, "data": {key: value for key, value in data.items() if key != "source"}}
    yield from _overrides(config)


def _overrides(config: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(config, Mapping) and config:
        for key, value in config.items():
            yield from _overrides(value, f"{prefix}.{key}" if prefix else str(key))
    elif prefix:
        yield f"{prefix}={config if isinstance(config, str) else json.dumps(config, default=str)}"


def _value_card(cell: Cell, metric: MetricFormat) -> dict[str, str]:
    return _card(cell, metric.value(cell), metric.title, metric.interval(cell))


def _card(cell: Cell, text: str, title: str, below: str) -> dict[str, str]:
    return {"text": text, "title": title, "below": cell["reason"] if cell["value"] is None else below}


def _part(name: str) -> str:
    return files("propensity.report").joinpath(name).read_text(encoding="utf-8")
