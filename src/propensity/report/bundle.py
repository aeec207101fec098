"""Printed summaries of bundles, batch scoring and drift, and the drift page."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import jinja2

from propensity.atomic import whole_file
from propensity.champion.model_name import in_text, served_in_text
from propensity.report.table import SCREEN, plain_table


def show_bundle(manifest: dict[str, Any], out: str) -> None:
    """Print the parity of an export, and the command that verifies the bundle.

    Parameters
    ----------
    manifest : dict
        Result of `propensity.serving.export.export`: the manifest, `digest` and `verifier`.
    out : str
        Folder of the bundle.
    """
    parity, golden = manifest["parity"], manifest["golden"]
    table = plain_table(f"bundle at {out}")
    table.add_column("format")
    for name in ("largest difference", "swaps among the best"):
        table.add_column(name, justify="right")
    for name, difference in parity["max_difference"].items():
        table.add_row(name, f"{difference:.1e}", str(parity["top_k_swaps"].get(name, "")))
    SCREEN.print(table)
    synthetic = f"{golden['customers']} synthetic customers x {golden['offers']} offers"
    SCREEN.print(
        f"compared on {parity['rows']:,} rows of real customers (one for each customer and cutoff), "
        f"{parity['pairs']:,} pairs, and {synthetic}; "
        f"valid until {manifest['valid_until']}"
    )
    champion = manifest["champion"]
    SCREEN.print(served_in_text(champion["name"], champion["why"]), highlight=False, soft_wrap=True)
    SCREEN.print(f"its scores combine {', '.join(map(in_text, champion['uses']))}", soft_wrap=True)
    command = shlex.join(["python", "-I", manifest["verifier"], str(out), manifest["digest"]])
    SCREEN.print(f"to verify the bundle: {command}", soft_wrap=True, markup=False, highlight=False)


def show_batch(result: Any, out: str) -> None:
    """Print how much was scored, and where the scores are.

    Parameters
    ----------
    result : BatchResult
        Summary of batch scoring.
    out : str
        Folder of the scores.
    """
    SCREEN.print(
        f"{result.customers:,} customers x {result.offers:,} offers at {result.cutoff}: {result.rows:,} rows in "
        f"{result.files} files at {out}",
        soft_wrap=True,
    )


def show_drift(report: Any, out: str) -> None:
    """Print the inputs that drifted most, and write a page with all of them.

    Parameters
    ----------
    report : DriftReport
        Result of `propensity.serving.drift.drift`.
    out : str
        HTML file to write.
    """
    table = plain_table(f"drift at {report.cutoff} from the training window {report.window}")
    table.add_column("input")
    table.add_column("stability index", justify="right")
    largest = sorted(report.stability_index.items(), key=lambda item: -item[1])
    for name, value in largest[:8]:
        table.add_row(name, f"{value:.3f}")
    SCREEN.print(table)
    SCREEN.print(
        f"{len(report.drifted)} of {len(report.stability_index)} inputs above {report.thresholds['inputs']}; scores "
        f"{report.score_index:.3f}; expected over observed purchases {report.training_calibration:.3f} in training, "
        f"{report.current_calibration:.3f} now; page at {out}",
        soft_wrap=True,
    )
    write_drift(report, out)


def write_drift(report: Any, out: str | Path) -> None:
    """Write the page of a comparison with the training window.

    Parameters
    ----------
    report : DriftReport
        Result of `propensity.serving.drift.drift`.
    out : str or Path
        HTML file to write.
    """
    largest = sorted(report.stability_index.items(), key=lambda item: -item[1])
    with whole_file(out) as draft:
        draft.write_text(PAGE.render(report=report, largest=largest))


PAGE = jinja2.Environment(autoescape=True, loader=jinja2.FileSystemLoader(Path(__file__).parent)).get_template(
    "drift.html.j2"
)
