"""Purchase history of the scored customers, from the event log before the cutoff."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from propensity.data.event_log import EventLog, to_day
from propensity.data.offer import OfferConfig, Offers, offers_before
from propensity.ingest.provenance import configured_task, log_of_task
from propensity.ingest.rule.matching import rows_of
from propensity.kernel.customer import customer_columns, customer_windows
from propensity.kernel.pair import pair_columns, pair_windows

BLOCK = 4096  # customers whose pairs are in memory at a time
WINDOWS, HALF_LIVES = (28, 91, 182, 364), (30,)


@dataclass(frozen=True)
class PurchaseHistory:
    """What was bought before a day.

    Parameters
    ----------
    log : EventLog
        The event log; events on or after `day` are not read.
    offer_config : OfferConfig
        How the log is cut into offers.
    day : int
        Days since 1970-01-01.
    horizon : int
        Days.
    objectors : np.ndarray, optional
        Rows of the log's customers who object to profiling, ascending.
    """

    log: EventLog
    offer_config: OfferConfig
    day: int
    horizon: int = 14
    objectors: np.ndarray | None = None

    def at(self, day: int) -> PurchaseHistory:
        """The same log as of another day."""
        return replace(self, day=day)

    def purchasers(self) -> np.ndarray:
        """Ascending rows of the customers with a purchase before the day, without those who object to profiling."""
        rows = self.log.purchasers(self.day)
        return rows if self.objectors is None else np.setdiff1d(rows, self.objectors)

    @cached_property
    def offers(self) -> Offers:
        """The offers, with the items known before the day."""
        return offers_before(self.log, self.offer_config, self.day)

    def rows(self, customer: np.ndarray) -> np.ndarray:
        """Rows of the log by customer id.

        Parameters
        ----------
        customer : np.ndarray
            (N,) ids, compared as `propensity.ingest.rule.matching.rows_of` does.

        Returns
        -------
        np.ndarray
            (N,) int64, -1 for a customer that the log does not have.
        """
        return rows_of(pl.Series(customer), self.log.customers["customer"])

    def pairs(self, row: np.ndarray, offer: tuple[str, ...], column: str) -> np.ndarray:
        """One column of `kernel.pair.pair_columns` for customers and named offers.

        Parameters
        ----------
        row : np.ndarray
            (n,) rows of the log; -1 never bought anything.
        offer : tuple[str, ...]
            M names; an offer that the log does not have was never bought.
        column : str
            Such as ``recency`` (days, NaN: never-bought) or ``spend_91``.

        Returns
        -------
        np.ndarray
            (n, M) float32.
        """
        names = pair_columns(WINDOWS, HALF_LIVES)
        place = {name: m for m, name in enumerate(self.offers.name)}
        source = np.array(sorted(place[name] for name in offer if name in place), np.int64)
        target = np.array([offer.index(self.offers.name[m]) for m in source], np.int64)
        sets, known = self.offers.take(source).sets, np.flatnonzero(row >= 0)
        out = np.full((row.size, len(offer)), np.nan if column == "recency" else 0.0, np.float32)
        for start in range(0, known.size if source.size else 0, BLOCK):
            block = known[start : start + BLOCK]
            values = np.empty((block.size, source.size, len(names)), np.float32)
            nothing = np.zeros(block.size, np.int64), np.full(block.size, -1)
            arguments = self.log.events, sets, row[block], self.day, *nothing
            pair_windows(*arguments, np.array(WINDOWS), np.array(HALF_LIVES), values)
            out[np.ix_(block, target)] = values[:, :, names.index(column)]
        return out

    def customer_features(self, row: np.ndarray) -> dict[str, np.ndarray]:
        """Columns of `kernel.customer.customer_columns`.

        Parameters
        ----------
        row : np.ndarray
            (n,) rows of the log, none of them -1.

        Returns
        -------
        dict[str, np.ndarray]
            Name to (n,) float32.
        """
        names = customer_columns(WINDOWS, HALF_LIVES)
        out = np.empty((row.size, len(names)), np.float32)
        arguments = self.log.events, self.offers.sets, len(self.offers), row, self.day, self.horizon
        customer_windows(*arguments, np.zeros(row.size, np.int64), np.array(WINDOWS), np.array(HALF_LIVES), out)
        return dict(zip(names, out.T, strict=True))


def purchase_history_of(
    config: Path, log: str | None, cutoff: str, say: Callable[[str], None]
) -> PurchaseHistory | None:
    """The history that the configuration of a run describes.

    Parameters
    ----------
    config : Path
        config.yaml of the run, or task.json of the bundle.
    log : str or None
        Folder of the event log; None: the one that the configuration names.
    cutoff : str
        ISO date.
    say : Callable[[str], None]
        Receives a sentence where there is no history to be read.

    Returns
    -------
    PurchaseHistory or None
        None without a configuration, or without a log where `log` is None.

    Raises
    ------
    DataError
        If the file is no configuration of a run.
    IntegrityError
        If it asks for a class outside this package's data layer.
    """
    if not config.is_file():
        way = "score again, or write the scores into the folder of their run"
        say(f"no {config}: the purchase history is unknown; {way}")
        return None
    task = configured_task(config)
    folder = log or log_of_task(task)
    if log is None and not (Path(folder) / "meta.json").is_file():
        say(f"no event log at {folder}: the purchase history is unknown; give log=<folder>")
        return None
    return PurchaseHistory(EventLog.open(folder), task.offer, to_day(cutoff), task.horizon)
