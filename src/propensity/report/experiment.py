"""The page of an analysed experiment."""

from __future__ import annotations

from html import escape
from typing import Any

HEAD = ("arm", "outcome", "effect", "low", "high", "p", "p_adjusted", "mde", "verdict")
STYLE = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
STYLE += "td,th{padding:.2rem .6rem;text-align:right}"


def experiment_page(result: dict[str, Any]) -> str:
    """One HTML page without other files: checks, effects and sentences."""
    rows = [
        [arm, outcome, *(cell[name] for name in HEAD[2:])]
        for arm, outcomes in result["arms"].items()
        for outcome, cell in outcomes.items()
    ]
    checks = f"Sample ratio p {result['srm_p']:.3g}; balance p {result['balance_p']:.3g}."
    table = "".join(_row("td", row) for row in rows)
    lines = "".join(f"<li>{escape(line)}</li>" for line in [*result["notes"], *result["sentences"]])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Experiment</title><style>{STYLE}</style>'
        f"<h1>Experiment</h1><p>{checks}</p><ul>{lines}</ul><table>{_row('th', HEAD)}{table}</table></html>"
    )


def _row(tag: str, values: Any) -> str:
    cells = (f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value) for value in values)
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"
