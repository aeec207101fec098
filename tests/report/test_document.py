"""Model card and data sheet say what metrics.json says."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from propensity.explain.section import ordered
from propensity.feature.reason import REASONS
from propensity.metric.headline import served_model
from propensity.report.document import DATA_SHEET, MODEL_CARD, data_sheet, model_card, write_documents
from propensity.report.number import shown_metrics
from propensity.report.page import page
from propensity.report.verdict import verdict_line
from report.test_page import RUN, metrics  # noqa: F401

LOG = {
    "customers": 2468,
    "items": 91,
    "events": {"purchase": 1234, "message": 56},
    "first_day": "2023-01-02",
    "last_day": "2024-03-01",
    "channels": ["mail"],
    "customer_columns": ["age"],
    "item_columns": ["category"],
    "warnings": {"duplicate orders": 3},
}


@pytest.fixture
def full(metrics: dict[str, Any]) -> dict[str, Any]:  # noqa: F811
    """Metrics with what the model relies on and the facts of a log."""
    groups = [
        {"name": name, "title": group.title, "meaning": group.meaning}
        | {kind: {"value": place / 4, "low": place / 5, "high": place / 3} for kind in ("any", "best")}
        for place, (name, group) in enumerate(REASONS.items())
    ]
    section = {"cutoff": "2024-01-01", "customers": 40, "sentences": 5, "carried": {"any": 0.91, "best": 0.87}}
    return copy.deepcopy(metrics) | {"reliance": section | {"groups": groups}, "run": RUN | {"log": LOG}}


def test_the_model_card_has_verdict_windows_metrics_warnings_and_reliance(full: dict[str, Any]) -> None:
    text = model_card(full | {"warnings": ["only 60 steps"]})
    assert f"**{verdict_line(full)}**" in text.replace("\u00a0", " ") or verdict_line(full)[:20] in text
    assert "2 cutoffs from 2023-12-04 to 2023-12-11" in text and "Training labels end: 2024-01-01" in text
    assert "1,234 (a customer at a cutoff)" in text and "- only 60 steps" in text
    for metric in shown_metrics(full).values():
        assert f"| {metric.title} |".replace("\u00a0", " ") in text
    assert full["models"][served_model(full)]["mean"]["all"]
    for group in ordered(full["reliance"]):
        assert f"| {group['title']} | {group['any']['value']:.2f} [" in text
    assert "## Intended use" in text and "## Limits" in text


def test_the_data_sheet_counts_rows_by_reason_customers_and_events(full: dict[str, Any]) -> None:
    text = data_sheet(full)
    assert "| dropped | quantity not above zero | 10 |" in text and "| read |  | 1,000 |" in text
    assert "Customers: 2,468" in text and "Events, purchase: 1,234" in text and "First day: 2023-01-02" in text
    assert "duplicate orders: 3" in text and "Attributes of customers in the log: age" in text
    for day, count in full["counts"].items():
        assert f"| {day} | {count['customers']:,} |" in text


def test_documents_of_a_run_without_these_facts_say_nothing_about_them(full: dict[str, Any], tmp_path: Path) -> None:
    bare = {key: value for key, value in full.items() if key not in ("reliance", "run", "warnings")}
    write_documents(bare, tmp_path)
    card, sheet = ((tmp_path / name).read_text() for name in (MODEL_CARD, DATA_SHEET))
    assert "relies on" not in card and "The evaluation gave no warnings." in card
    assert "Attributes of customers in the log" not in sheet


def test_the_page_shows_what_the_model_relies_on_with_intervals(full: dict[str, Any]) -> None:
    text = page(full)
    assert "What the model relies on" in text and "0.25" in text and "[0.20, 0.33]" in text and "91" in text
    assert "Own columns" in text  # it has a contribution
    assert "How often" not in text  # it has none
    assert "What the model relies on" not in page({key: value for key, value in full.items() if key != "reliance"})
