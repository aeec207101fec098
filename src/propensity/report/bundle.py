"""What the scripts about bundles print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from propensity.atomic import whole_file
from propensity.report.table import SCREEN, plain_table


def show_bundle(about: dict[str, Any], out: str) -> None:
    """What was held against the network, how far apart they were, and the line to keep."""
    table = plain_table(f"bundle at {out}")
    table.add_column("format")
    for name in ("largest difference", "exchanged among the best"):
        table.add_column(name, justify="right")
    for name, apart in about["parity"]["largest"].items():
        table.add_row(name, f"{apart:.1e}", str(about["parity"]["exchanged"].get(name, "")))
    SCREEN.print(table)
    rows, pairs, golden = about["parity"]["rows"], about["parity"]["pairs"], about["golden"]
    made_up = f"{golden['customers']} made-up customers x {golden['offers']} offers"
    SCREEN.print(f"{rows:,} real customers, {pairs:,} pairs, and {made_up}; valid until {about['valid_until']}")
    SCREEN.print(f"keep this line: python {out}/verify.py {about['digest']}", soft_wrap=True)


def show_stream(scored: Any, out: str) -> None:
    """How much was scored and where it lies."""
    SCREEN.print(
        f"{scored.customers:,} customers x {scored.offers:,} offers at {scored.cutoff}: {scored.rows:,} rows in "
        f"{scored.files} files at {out}",
        soft_wrap=True,
    )


def show_drift(found: Any, out: str) -> None:
    """The furthest columns, and a small page with all of them."""
    table = plain_table(f"{found.cutoff} against the training window, {found.window}")
    table.add_column("input")
    table.add_column("stability index", justify="right")
    furthest = sorted(found.index.items(), key=lambda each: -each[1])
    for name, value in furthest[:8]:
        table.add_row(name, f"{value:.3f}")
    SCREEN.print(table)
    SCREEN.print(
        f"{len(found.moved)} of {len(found.index)} inputs past {found.limits['inputs']}; scores {found.scores:.3f}; "
        f"expected over observed purchases {found.then:.3f} then, {found.now:.3f} now; page at {out}",
        soft_wrap=True,
    )
    with whole_file(out) as draft:
        draft.write_text(PAGE.render(found=found, furthest=furthest))


PAGE = jinja2.Environment(autoescape=True, loader=jinja2.FileSystemLoader(Path(__file__).parent)).get_template(
    "drift.html.j2"
)
