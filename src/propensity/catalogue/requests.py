"""Tables of requests: customers, each at a cutoff of his own, and perhaps the offers that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from propensity.data.event_log import EventLog, to_date
from propensity.errors import ConfigurationError, DataError

CUSTOMER, CUTOFF, OFFER = "customer_id", "cutoff", "offer_id"
SUFFIXES = (".parquet", ".csv")


class Requests(NamedTuple):
    """R requests, ascending in day and customer, each once."""

    customer: np.ndarray  # (R,) int64, rows of the log
    day: np.ndarray  # (R,) int64, days since 1970-01-01: events before it are visible
    named: tuple[np.ndarray, np.ndarray] | None = None  # offsets (R + 1,) and offers, where the table names offers

    @property
    def number(self) -> int:
        """R."""
        return self.customer.size

    def take(self, position: np.ndarray) -> Requests:
        """The requests at ascending positions, without the offers that they name."""
        return Requests(self.customer[position], self.day[position])


def read_requests(path: str | Path) -> pl.DataFrame:
    """Read a table of requests.

    Parameters
    ----------
    path : str or Path
        Parquet or CSV file with the columns customer_id, cutoff and perhaps offer_id.

    Returns
    -------
    polars.DataFrame
        customer_id and offer_id as text, cutoff as dates; rows as in the file.

    Raises
    ------
    ConfigurationError
        If there is no such file, or it has another suffix.
    DataError
        If it cannot be read, lacks a column, is empty, or holds missing values or cutoffs that are no dates.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigurationError(f"no table of requests at {path}; give a Parquet file with customer_id and cutoff")
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigurationError(f"{path} is neither Parquet nor CSV; write requests as requests.parquet")
    try:
        table = pl.read_csv(path, infer_schema=False) if path.suffix.lower() == ".csv" else pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path} cannot be read as a table of requests ({reason}); write it again") from None
    return checked(table, str(path))


def checked(table: pl.DataFrame, name: str) -> pl.DataFrame:
    """Check a table of requests and bring its columns to one type.

    Parameters
    ----------
    table : polars.DataFrame
        Columns customer_id, cutoff and perhaps offer_id.
    name : str
        Name of the table in messages.

    Returns
    -------
    polars.DataFrame
        customer_id and offer_id as text, cutoff as dates.

    Raises
    ------
    DataError
        As `read_requests`.
    """
    for column in (CUSTOMER, CUTOFF):
        if column not in table.columns:
            raise DataError(
                f"{name} has no column {column}; requests have customer_id, cutoff and, if offers are named, offer_id"
            )
    table = table.select(column for column in (CUSTOMER, CUTOFF, OFFER) if column in table.columns)
    if table.is_empty():
        raise DataError(f"{name} has no request; give at least one customer_id and cutoff")
    for column in table.columns:
        if (missing := table[column].null_count()) > 0:
            raise DataError(f"{name} has {missing} rows without {column}; fill them in or leave them out")
    return table.with_columns(pl.col(CUSTOMER).cast(pl.String), _dates(table[CUTOFF], name)).with_columns(
        pl.col(column).cast(pl.String) for column in (OFFER,) if column in table.columns
    )


def _dates(cutoff: pl.Series, name: str) -> pl.Series:
    """Cutoffs as dates; DataError for anything else, and for a time of day."""
    kind = cutoff.dtype
    if kind == pl.Date:
        return cutoff
    if kind == pl.String:
        dates = cutoff.str.to_date("%Y-%m-%d", strict=False)
        if dates.null_count():
            wrong = cutoff.filter(dates.is_null())[0]
            raise DataError(f"cutoff {wrong!r} of {name} is not a date; write it as YYYY-MM-DD")
        return dates
    if isinstance(kind, pl.Datetime):
        dates = cutoff.dt.date()
        timed = cutoff.filter(cutoff.dt.time() != time(0))
        if timed.len():
            raise DataError(f"cutoff {timed[0]} of {name} has a time of day; cutoffs are dates, so give the date")
        return dates.alias(CUTOFF)
    raise DataError(f"column cutoff of {name} holds {kind}, not dates; write them as YYYY-MM-DD")


def resolve(
    table: pl.DataFrame, log: EventLog, offers: Sequence[str], name: str, say: Callable[[str], None]
) -> Requests:
    """Find the customers and offers of a table of requests in a log.

    Parameters
    ----------
    table : polars.DataFrame
        As `checked` returns it.
    log : EventLog
        The log.
    offers : sequence of str
        Names of the M offers.
    name : str
        Name of the table in messages.
    say : callable
        Receives what was left out: requests that stand twice, guests and objectors to profiling.

    Returns
    -------
    Requests
        Each request once, ascending in day and customer.

    Raises
    ------
    ConfigurationError
        If a cutoff is not after the first purchase of the log.
    DataError
        If a customer or an offer is unknown, or no request is left.
    """
    if (early := table.filter(pl.col(CUTOFF) <= to_date(log.first_day))).height:
        customer, cutoff = early.row(0)[:2]
        raise ConfigurationError(
            f"cutoff {cutoff} of customer {customer} in {name} is not after the first purchase of the log "
            f"({to_date(log.first_day)}); use a later cutoff"
        )
    numbered = table.with_columns(
        row=_places(table[CUSTOMER], log.customers["customer"].cast(pl.String), f"{name} names customer", "customer"),
        day=pl.col(CUTOFF).cast(pl.Int32).cast(pl.Int64),
        **({} if OFFER not in table.columns else {"offer": _offer_places(table[OFFER], offers, name)}),
    ).select("row", "day", *(["offer"] if OFFER in table.columns else []))
    unique = numbered.unique().sort("day", "row", *numbered.columns[2:])
    if twice := numbered.height - unique.height:
        say(f"{twice} requests of {name} stand there more than once and are answered once")
    allowed = _allowed(log, unique["row"].to_numpy(), unique["day"].to_numpy())
    if left_out := int((~allowed).sum()):
        say(f"{left_out} requests of {name} are of guests or of customers who object to profiling, and get no score")
    unique = unique.filter(pl.Series(allowed))
    if unique.is_empty():
        raise DataError(f"no request of {name} may be scored: all are of guests or objectors to profiling; add others")
    if OFFER not in table.columns:
        return Requests(unique["row"].to_numpy(), unique["day"].to_numpy())
    groups = unique.group_by("day", "row", maintain_order=True).agg(pl.len())
    offsets = np.concatenate([[0], np.cumsum(groups["len"].to_numpy())]).astype(np.int64)
    return Requests(groups["row"].to_numpy(), groups["day"].to_numpy(), (offsets, unique["offer"].to_numpy()))


def _places(values: pl.Series, known: pl.Series, what: str, kind: str) -> pl.Series:
    """Place of each value among the known ones; DataError for the first unknown one."""
    places = values.replace_strict(known, pl.Series(range(known.len())), default=None, return_dtype=pl.Int64)
    if places.null_count():
        missing = values.filter(places.is_null())
        raise DataError(
            f"{what} {missing[0]!r}, which the log does not have ({missing.n_unique()} such {kind}s in all); "
            f"leave them out, or add their events with propensity prepare append=true"
        )
    return places


def _offer_places(values: pl.Series, offers: Sequence[str], name: str) -> pl.Series:
    known = pl.Series(list(offers), dtype=pl.String)
    places = values.replace_strict(known, pl.Series(range(known.len())), default=None, return_dtype=pl.Int64)
    if places.null_count():
        missing = values.filter(places.is_null())
        raise DataError(
            f"{name} names offer {missing[0]!r}, which is not among the {len(offers):,} offers of the run; "
            "leave it out or correct the name"
        )
    return places


def _allowed(log: EventLog, row: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Whether each customer (R,) may be scored on a day: no guest, and no objection to profiling by then."""
    allowed = np.empty(row.size, bool)
    for each in np.unique(day):
        mask = day == each
        allowed[mask] = ~np.isin(row[mask], log.not_scored(int(each)))
    return allowed


def all_purchasers(log: EventLog, day: int) -> Requests:
    """A request at one cutoff for each customer with a purchase before it.

    Parameters
    ----------
    log : EventLog
        The log.
    day : int
        Days since 1970-01-01, exclusive.

    Returns
    -------
    Requests
        Without guests and objectors to profiling.

    Raises
    ------
    ConfigurationError
        If there is none.
    """
    row = log.purchasers(day)
    if row.size == 0:
        raise ConfigurationError(f"no customer has a purchase before {to_date(day)}; use a later cutoff")
    return Requests(row, np.full(row.size, day, np.int64))
