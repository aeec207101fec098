"""The page of an allocation: one HTML file that loads nothing from the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
from markupsafe import Markup

from propensity.decision.result import cell

STYLE = """body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .6em;border:1px solid #e3e5e8;text-align:right}
td:first-child,th:first-child{text-align:left}.warn{border-left:5px solid #D55E00;background:#fdf3ec;padding:.6em 1em}
div{overflow-x:auto}"""


def html(cutoff: str, sentences: Sequence[str], tables: Mapping[str, pl.DataFrame], claimed: bool) -> str:
    """The allocation as one HTML page that loads nothing from the network."""
    warning = (
        Markup("")
        if claimed
        else Markup(
            '<p class="warn">No effect is claimed: no experiment of these plays is on file. Amounts are value at '
            "stake, not what the plays bring.</p>"
        )
    )
    parts = []
    for title, table in tables.items():
        if not table.width:
            continue
        head = Markup("").join(Markup("<th>{}</th>").format(name.replace("_", " ")) for name in table.columns)
        body = Markup("").join(
            Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(cell(v)) for v in row))
            for row in table.iter_rows()
        )
        parts.append(Markup("<h2>{}</h2><div><table><tr>{}</tr>{}</table></div>").format(title, head, body))
    items = Markup("").join(Markup("<li>{}</li>").format(sentence) for sentence in sentences)
    return str(
        Markup(
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
            'content="width=device-width"><title>Allocation {}</title><style>{}</style></head><body>'
            "<h1>Lean in, intervene or let go on {}</h1>{}<ul>{}</ul>{}</body></html>"
        ).format(cutoff, Markup(STYLE), cutoff, warning, items, Markup("").join(parts))
    )
