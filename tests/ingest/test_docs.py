"""docs/data.md contains the contract and the rules of the code."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from propensity.ingest.contract import TABLES
from propensity.ingest.rule import RULES

PAGE = Path(__file__).parents[2] / "docs/data.md"


def contract() -> str:
    """The tables of the contract as Markdown."""
    parts = []
    for name, columns in TABLES.items():
        rows = [f"| `{c.name}` | {c.type} | {c.meaning} | {c.default or '**needed**'} |" for c in columns]
        parts.append(
            "\n".join([f"**{name}**", "", "| column | type | meaning | without it |", "|---|---|---|---|", *rows])
        )
    return "\n\n".join(parts)


def rules() -> str:
    """The table of rules as Markdown."""
    rows = [
        f"| `{r.code}` | {r.action} | {r.meaning} | {f'`data.source.{r.setting}`' if r.setting else ''} |"
        for r in RULES
    ]
    return "\n".join(["| code | what happens | when | setting |", "|---|---|---|---|", *rows])


@pytest.mark.parametrize(("mark", "table"), [("contract", contract), ("rules", rules)])
def test_the_page_contains_the_table_of_the_code(mark: str, table: Callable[[], str]) -> None:
    section = re.search(rf"<!-- {mark}: .*? -->\n(.*?)\n<!-- /{mark} -->", PAGE.read_text(), re.S)
    assert section is not None
    assert section[1] == table(), f"write this between the marks of {mark} in docs/data.md:\n{table()}"


def test_every_setting_of_a_rule_exists() -> None:
    from dataclasses import fields

    from propensity.ingest.contract import EVENTS
    from propensity.ingest.source.table import Table

    known = {field.name for field in fields(Table)} | {f"columns.{column.name}" for column in EVENTS}
    assert {rule.setting for rule in RULES} - {""} <= known
