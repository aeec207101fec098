"""What the commands print: the files that exist, and the page's warnings, totals and served model."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

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
