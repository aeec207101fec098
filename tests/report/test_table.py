"""What the commands print: the files that exist, and the page's warnings, totals and served model."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from propensity.metric.headline import served_model
from propensity.report import table
from propensity.report.table import result_files, show_metrics
from report.test_page import with_champion


def test_only_files_that_were_left_are_named(tmp_path: Path) -> None:
    assert result_files(str(tmp_path)) == []
    (tmp_path / "metrics.json").touch()
    assert result_files(str(tmp_path)) == [f"{tmp_path}/metrics.json"]
    (tmp_path / "report.html").touch()
    (tmp_path / "report.md").touch()
    assert result_files(str(tmp_path)) == [
        f"{tmp_path}/{name}" for name in ("report.html", "report.md", "metrics.json")
    ]


def test_the_terminal_shows_warnings_totals_and_the_served_model(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, notes = Console(width=120, record=True), Console(width=120, record=True)
    monkeypatch.setattr(table, "SCREEN", screen)
    monkeypatch.setattr(table, "NOTES", notes)
    metrics = with_champion("stack")
    show_metrics(metrics | {"warnings": ["only [60] steps", "off"]}, "runs/none")
    text, warnings = screen.export_text(), notes.export_text()
    assert "warning: only [60] steps" in warnings and "warning: off" in warnings
    assert "Served model: stack, because its validation log loss is lowest." in text
    assert "amounts are in the log's currency" in text
    for cell in (metrics["expected_over_observed"]["stack"][name] for name in ("purchases", "revenue")):
        assert f"{cell['value']:.2f} [{cell['low']:.2f}, {cell['high']:.2f}]" in text


def test_every_row_of_the_differences_to_many_models_has_its_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Console(width=80, record=True)
    monkeypatch.setattr(table, "SCREEN", screen)
    metrics = with_champion("network")
    one = next(iter(metrics["differences"].values()))
    more = dict.fromkeys(("logistic", "popularity", "mine"), one)
    names = (*metrics["differences"], *more)
    show_metrics(metrics | {"differences": metrics["differences"] | more}, "runs/none")
    lines = screen.export_text().splitlines()
    starts = [
        k
        for k, line in enumerate(lines)
        if line.startswith(f"{served_model(metrics)} minus ") and "strongest" not in line
    ]
    tables = [lines[k + 4 : k + 4 + len(one["mean"]["all"])] for k in starts]
    assert len(starts) == 2
    assert all(line.split("  ")[0].strip() for block in tables for line in block[:5])
    assert all(any(name in line for line in lines) for name in names)


def test_no_difference_or_verdict_is_cut_on_a_terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Console(width=80, record=True)
    monkeypatch.setattr(table, "SCREEN", screen)
    metrics = with_champion("network")
    one = next(iter(metrics["differences"].values()))
    more = dict.fromkeys(("logistic", "popularity", "lightgbm"), one)
    show_metrics(metrics | {"differences": metrics["differences"] | more}, "runs/none")
    text = screen.export_text()
    assert "…" not in text
    rows = [line for line in text.splitlines() if sum(word in ("win", "tie", "loss") for word in line.split()) == 4]
    assert len(rows) > 5, "cut words are none of these"
