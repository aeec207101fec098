"""The Python interface: from a frame to an event log, a trained network, scores, an evaluation, a decision, a bundle.

Everything here is also exported by `propensity` itself. Settings that the signatures do not name go into `settings`, by
the names of the command line: `{"model/encoder": "gru", "trainer.max_epochs": 5}`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from propensity.api.model import Bundle, Model
from propensity.api.place import files_of, log_folder
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError

if TYPE_CHECKING:
    from propensity.decision.result import DecisionResult

Settings = Mapping[str, Any]
LOGGER = logging.getLogger("propensity")
BUNDLE, CHECKPOINT = "manifest.json", "model.ckpt"


def prepare(
    events: Any,
    out: str | Path,
    *,
    customer: str,
    day: str,
    item: str | None,
    revenue: str | None,
    item_columns: Sequence[str] = (),
    customer_columns: Sequence[str] = (),
    items: Any = None,
    customers: Any = None,
    columns: Mapping[str, str] | None = None,
    pseudonym: str | None = None,
    keep: int | None = None,
    **settings: Any,
) -> EventLog:
    """Writes the event log of a table of transactions; every row is accounted for in `log.meta`.

    Parameters
    ----------
    events
        Polars or pandas frame, or the path or pattern of CSV or Parquet files; a row is a line of an order.
    out
        Folder of the event log.
    customer, day, item, revenue
        Names of the columns of customer ids, dates, item ids (None: lines name no item) and the line's total (None:
        1 for each unit).
    item_columns, customer_columns
        Columns of `events` that describe items and customers, such as a category.
    items, customers
        Instead: tables with one row for each item or customer, as frames or paths.
    columns
        Further columns: quantity, kind, channel, order, event_id, discount, currency, available_at -> yours.
    pseudonym
        Place of a key, `file:<path>` or `env:<name>`, under which customer ids are stored.
    keep
        Days of the log up to the last purchase; older events leave it and are counted. None: all.
    **settings
        Any other setting of `data/source=table`, such as `timezone` or `kinds`; see docs/data.md.

    Returns
    -------
    EventLog
        Memory-mapped, with the quarantined rows beside it in `out`.

    Raises
    ------
    ConfigurationError
        For a column that does not exist, or a setting that does not fit.
    DataError
        For a table that cannot be used.
    """
    from propensity.ingest.build import prepare as write_log
    from propensity.ingest.privacy import read_key
    from propensity.ingest.retention import check_keep
    from propensity.ingest.source.table import Table

    check_keep(keep)
    mapping: dict[str, str | None] = {"customer": customer, "day": day, "item": item, "revenue": revenue}
    with files_of(events=events, items=items, customers=customers) as files:
        given = {"item_columns": list(item_columns), "customer_columns": list(customer_columns), **files, **settings}
        source = Table(columns=mapping | dict(columns or {}), **given)
        return write_log(source, out, None, None if pseudonym is None else read_key(pseudonym), keep)


def fit(
    log: EventLog | str | Path,
    *,
    offer: str | None = None,
    horizon: int = 14,
    end: str | None = None,
    out: str | Path = "runs/train",
    seed: int = 17,
    settings: Settings | None = None,
    plugins: Sequence[str] = (),
) -> Model:
    """Trains a network on an event log; an interrupted training of the same settings continues.

    Parameters
    ----------
    log
        Event log that lies in a folder, or the folder.
    offer
        Item column whose values are the offers; None: the only categorical column of the items.
    horizon
        Days in which a purchase counts.
    end
        ISO date that no training label reaches; what lies after it is left for the evaluation. None: the end of the
        log.
    out
        Folder of the run.
    seed
        Seed of every random stream.
    settings
        Further settings of `propensity train`, such as `{"model/encoder": "gru"}`.
    plugins
        Packages of your own whose parts the settings name.

    Raises
    ------
    ConfigurationError, DataError, GateError
        As `propensity train`.
    """
    from propensity.command import configuration
    from propensity.training.run import train
    from propensity.trust import use_plugins

    use_plugins(plugins)
    given = {"data.log": str(log_folder(log)), "data.horizon": horizon, "out": str(out), "seed": seed}
    given |= {} if offer is None else {"data.offer.column": offer}
    given |= {} if end is None else {"data.end": end}
    train(configuration("train", {**given, **(settings or {}), "plugins": list(plugins)}))
    return Model(Path(out))


def load(folder: str | Path, log: EventLog | str | Path | None = None, plugins: Sequence[str] = ()) -> Model | Bundle:
    """Opens the folder of a run or of a bundle.

    Parameters
    ----------
    folder
        What `fit` or `propensity train` wrote, or what `Model.export` or `propensity export` wrote.
    log
        Event log to score by default; None: the one the network was trained on.
    plugins
        Packages of your own whose parts the checkpoint names.

    Raises
    ------
    ConfigurationError
        If the folder is neither.
    IntegrityError
        If it was tampered with, or names code that no plug-in vouches for.
    """
    from propensity.trust import use_plugins

    use_plugins(plugins)
    folder = Path(folder)
    if (folder / CHECKPOINT).is_file():
        return Model(folder, log)
    if (folder / BUNDLE).is_file():
        return Bundle(folder, log)
    raise ConfigurationError(f"{folder} holds neither a run nor a bundle; give a folder that fit or export wrote")


def decide(
    decision: str,
    scores: pl.DataFrame | str | Path,
    *,
    log: EventLog | str | Path | None = None,
    out: str | Path | None = None,
    cutoff: str | None = None,
    attributes: Sequence[str] = (),
    **settings: Any,
) -> DecisionResult:
    """Turns scores into a decision, such as an audience or a campaign plan.

    Parameters
    ----------
    decision
        Name of the decision: audience, campaign, channel, next_best, opportunity, overlap or segment.
    scores
        Table of scores, as a frame or a file.
    log
        Event log, for decisions that look at what customers bought.
    out
        Folder for tables, summary and picture, or the file of a send list (.csv or .parquet); None: nothing is written.
    cutoff
        Which of several cutoffs in the scores; None: the last.
    attributes
        Columns of the customers that a send list holds.
    **settings
        Settings of the decision, such as `size=200`, and those of every decision, such as `objective="discovery"`.

    Returns
    -------
    DecisionResult
        `table` is the decision, `summary` its numbers.
    """
    from propensity.command import configuration
    from propensity.config import DecideConfig
    from propensity.serving.decide import make

    common = {each.name for each in fields(DecideConfig)}
    named = {key if key in common else f"decision.{key}": value for key, value in settings.items()}
    with files_of(scores=scores) as files:
        given = {"decision": decision, "scores": files["scores"], "out": str(out or "decision"), "cutoff": cutoff}
        place = None if log is None else str(log_folder(log))
        config = configuration("decide", {**given, "log": place, "attributes": list(attributes), **named})
        made = make(config, LOGGER.info)
    if out is not None:
        made.write(out)
    return made.result
