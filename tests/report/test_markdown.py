"""The summary for a pull request: the page's numbers, and no name that becomes markup."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from propensity.report.markdown import summary, write_summary
from propensity.report.number import shown_metrics
from propensity.report.verdict import verdict_line
from report.test_page import HOSTILE, RUN, evaluated, with_champion, without_values


@pytest.fixture(scope="module")
def metrics() -> dict[str, Any]:
    return evaluated()


def rows(text: str) -> list[list[str]]:
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]


def test_the_first_line_is_the_verdict(metrics):
    assert summary(metrics).splitlines()[0] == f"**{verdict_line(metrics)}**"


def test_every_model_date_and_group_has_a_row(metrics):
    table = rows(summary(metrics))
    first, head = {row[0].strip() for row in table}, {cell.strip() for cell in table[0]}
    assert {*metrics["counts"], "mean", "new customer", "never-bought", "repeat"} <= first
    assert {"Network", "LightGBM", "Popularity"} <= head
    assert {metric.title.replace("\u00a0", " ") for metric in shown_metrics(metrics).values()} <= first


def test_figures_are_those_of_the_metrics(metrics):
    cell, text = metrics["models"]["network"]["mean"]["all"]["revenue_lift"], summary(metrics)
    assert f"{cell['value']:.2f} × [{cell['low']:.2f}, {cell['high']:.2f}]" in text
    assert f"{metrics['heuristics']['rule']['difference']['value']:+,.0f}".replace("-", "−") in text
    assert metrics["decay"]["sentence"] in text and "seed" not in text.split("<details>")[0]
    assert "commit `abc1234`" in text and "data.horizon=14" in text


def test_totals_warnings_currency_and_the_served_model_are_those_of_the_page(metrics):
    text = summary(metrics | {"warnings": ["only 60 steps"]})
    cell = metrics["expected_over_observed"]["network"]["revenue"]["top"]
    assert f"| {cell['value']:.2f} [{cell['low']:.2f}, {cell['high']:.2f}] |" in text
    assert text.splitlines()[2] == "- Warning: only 60 steps" and text.count("in the log's currency") == 1
    text = summary(with_champion("stack") | {"run": RUN | {"currency": "EUR"}})
    assert "Served model: stack, because its validation log loss is lowest. The network is not served" in text
    assert "Amounts are in EUR." in text and "stack minus" in text


def test_tables_are_square_and_names_are_no_markup(metrics):
    text = summary(metrics)
    assert "<script" not in text.replace("&lt;script", "")
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(tables) == 4
    for table in tables:
        assert len({len(row) for row in rows(table)}) == 1
    renamed = copy.deepcopy(metrics)
    for offers in renamed["offers"].values():
        for row in offers:
            row["offer"] = row["offer"].replace(HOSTILE, "a|b`*c")
    assert "a\\|b\\`\\*c" in summary(renamed)


def test_what_is_undefined_is_a_dash_and_a_network_alone_is_enough(metrics):
    alone = evaluated((), days=1)
    for case in (metrics, alone):
        empty = copy.deepcopy(case)
        empty["models"], empty["differences"] = without_values(case["models"]), without_values(case["differences"])
        text = summary(empty)
        assert "–" in text and "None" not in text and "nan" not in text
    assert summary(alone).startswith("**no verdict: no baseline was evaluated**")


def test_the_file_is_whole_or_not_there(metrics, tmp_path: Path):
    with pytest.raises(KeyError):
        write_summary({"headline": None}, tmp_path / "report.md")
    assert not list(tmp_path.iterdir())
    write_summary(metrics, tmp_path / "report.md")
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == summary(metrics)
