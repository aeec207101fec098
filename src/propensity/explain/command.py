"""The command `propensity explain`: one score in words, and what the model relies on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from propensity.atomic import whole_file
from propensity.config import ExplainConfig
from propensity.errors import ConfigurationError
from propensity.explain.opened import OpenedCutoff, open_cutoff
from propensity.explain.reasons import Reason, Reasons
from propensity.explain.reliance import ordered, reliance
from propensity.report.table import plain_table


class Explained(NamedTuple):
    """What the command found.

    Attributes
    ----------
    reasons : Reasons or None
        Of one customer and offer; None without a customer.
    largest : list of Reason
        The reasons that are shown.
    section : dict or None
        Result of `reliance`; None where no customers are sampled.
    """

    reasons: Reasons | None
    largest: list[Reason]
    section: dict[str, Any] | None


def explain(cfg: ExplainConfig, say: Callable[[str], None]) -> Explained:
    """Explain one score, and write what the model relies on.

    Parameters
    ----------
    cfg : ExplainConfig
        Composed configuration of conf/explain.yaml.
    say : callable
        Receives messages about progress.

    Raises
    ------
    ConfigurationError
        If not exactly one of `run` and `bundle` is set, or a number is too small.
    """
    if (cfg.run is None) == (cfg.bundle is None):
        raise ConfigurationError("explain either a run or a bundle; give run=runs/demo or bundle=bundle")
    if cfg.reasons < 1 or cfg.customers < 0:
        raise ConfigurationError(f"reasons={cfg.reasons} must be at least 1, and customers={cfg.customers} at least 0")
    if cfg.offer is not None and cfg.customer is None:
        raise ConfigurationError(f"offer={cfg.offer} needs a customer; give customer=<id>")
    opened = open_cutoff(cfg.run or cfg.bundle or "", cfg.cutoff, cfg.log)
    reasons = None if cfg.customer is None else of_customer(opened, str(cfg.customer), cfg.offer)
    section = None
    if cfg.customers:
        say(f"explaining scores of {cfg.customers} customers")
        section = reliance(opened, cfg.customers, cfg.seed)
        with whole_file(cfg.out) as draft:
            draft.write_text(json.dumps(section, indent=1))
    return Explained(reasons, [] if reasons is None else reasons.largest(cfg.reasons), section)


def of_customer(opened: OpenedCutoff, customer: str, offer: str | None) -> Reasons:
    """Reasons of a customer's score of an offer; None: of the highest score."""
    if offer is not None:
        return opened.explain(customer, offer)
    inputs = opened.inputs(opened.require(customer))
    return opened.explainer.explain(inputs, 0, int(np.argmax(opened.explainer.log_odds(inputs)[0])))


def show(result: Explained, out: str) -> None:
    """Prints the sentences and the table.

    Parameters
    ----------
    result : Explained
        What to print.
    out : str
        The file that was written.
    """
    screen = Console()
    if result.reasons is not None:
        carried = result.reasons.carried(len(result.largest))
        screen.print(
            f"{result.reasons.facts.offer}: log-odds {result.reasons.score:.2f}", highlight=False, markup=False
        )
        for reason in result.largest:
            screen.print(f"  {reason.contribution:+.2f}  {reason.text}", highlight=False, markup=False)
        screen.print(f"  these carry {100 * carried:.0f} % of the score", style="dim", highlight=False)
    if result.section is not None:
        table = plain_table(f"what the model relies on, {result.section['customers']} customers, log-odds")
        for title in ("group", "any offer", "best offer"):
            table.add_column(title, justify="left" if title == "group" else "right")
        for group in ordered(result.section):
            table.add_row(group["title"], *(f"{group[kind]['value']:.2f}" for kind in ("any", "best")))
        screen.print(table)
        screen.print(out, style="dim", highlight=False, markup=False)
