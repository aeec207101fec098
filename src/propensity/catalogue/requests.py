"""Tables of requests: customers, each at a cutoff of his own, and perhaps the offers that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from propensity.catalogue.moment import DAY
from propensity.data.event_log import EventLog, to_date
from propensity.errors import ConfigurationError, DataError

CUSTOMER, CUTOFF, OFFER = "customer_id", "cutoff", "offer_id"
SUFFIXES = (".parquet", ".csv")


class Requests(NamedTuple):
    """R requests, ascending in day, time of day and customer, each once."""

    customer: np.ndarray  # (R,) int64, rows of the log
    day: np.ndarray  # (R,) int64, days since 1970-01-01: events before it are visible
    named: tuple[np.ndarray, np.ndarray] | None = None  # offsets (R + 1,) and offers, where the table names offers
    clock: np.ndarray | None = None  # (R,) int64, ms since midnight: events before that time of `day` are visible too

    @property
    def number(self) -> int:
        """R."""
        return self.customer.size

    @property
    def clocks(self) -> np.ndarray:
        """Time of day of each request, 0 where none has one: (R,) int64, milliseconds since midnight."""
        return np.zeros(self.number, np.int64) if self.clock is None else self.clock

    def take(self, position: np.ndarray) -> Requests:
        """The requests at ascending positions, without the offers that they name."""
        clock = None if self.clock is None else self.clock[position]
        return Requests(self.customer[position], self.day[position], None, clock)

    def part(self, position: np.ndarray) -> Requests:
        """The requests at ascending positions, with the offers that they name."""
        if self.named is None:
            return self.take(position)
        offsets, offers = self.named
        sizes = np.diff(offsets)[position]
        start = np.concatenate([[0], np.cumsum(sizes)])
        chosen = np.repeat(offsets[position] - start[:-1], sizes) + np.arange(start[-1])
        return self.take(position)._replace(named=(start.astype(np.int64), offers[chosen]))


def read_requests(path: str | Path) -> pl.DataFrame:
    """Read a table of requests.

    Parameters
    ----------
    path : str or Path
        Parquet or CSV file with the columns customer_id, cutoff and perhaps offer_id.

    Returns
    -------
    polars.DataFrame
        customer_id and offer_id as text, cutoff as dates, or as moments where one has a time of day; rows as in the
        file.

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
        customer_id and offer_id as text, cutoff as dates; as `Datetime`, with a zone or in that of the log, where one
        has a time of day.

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
    return table.with_columns(
        _ids(table[CUSTOMER], name),
        _cutoffs(table[CUTOFF], name),
        *(_ids(table[column], name) for column in (OFFER,) if column in table.columns),
    )


def _ids(column: pl.Series, name: str) -> pl.Series:
    """Ids as text; whole numbers that a column of decimals holds are those numbers. DataError for anything else."""
    kind = column.dtype
    if kind.is_float() and _whole(column.to_numpy()):
        column = column.cast(pl.Int64)
    elif not (kind.is_integer() or kind in (pl.String, pl.Categorical) or isinstance(kind, pl.Enum)):
        raise DataError(f"column {column.name} of {name} holds {kind}, not ids; write them as text or whole numbers")
    return column.cast(pl.String)


def _whole(values: np.ndarray) -> bool:
    """Whether all decimals (R,) are whole numbers that they hold exactly."""
    return bool(np.all(np.isfinite(values) & (values == np.round(values)) & (np.abs(values) < 2**53)))


def _cutoffs(cutoff: pl.Series, name: str) -> pl.Series:
    """Cutoffs as dates, or as moments where one has a time of day; DataError for anything else."""
    kind = cutoff.dtype
    if kind == pl.Date:
        return cutoff
    if kind == pl.String:
        dates = cutoff.str.to_date("%Y-%m-%d", strict=False)
        if dates.null_count() == 0:
            return dates
        cutoff, kind = _written_moments(cutoff, name), pl.Datetime("ms")
    if isinstance(cutoff.dtype, pl.Datetime):
        if (cutoff.dt.time() == time(0)).all():
            return cutoff.dt.date().alias(CUTOFF)
        return cutoff.dt.cast_time_unit("ms")
    raise DataError(f"column cutoff of {name} holds {kind}, not dates; write them as YYYY-MM-DD")


def _written_moments(cutoff: pl.Series, name: str) -> pl.Series:
    """Moments that are written as YYYY-MM-DD HH:MM, all with an offset or all without; DataError for anything else."""
    values = dict[str, datetime]()
    for text in cutoff.unique(maintain_order=True):
        try:
            values[text] = datetime.fromisoformat(text.strip())
        except ValueError:
            raise DataError(
                f"cutoff {text!r} of {name} is not a date; write it as YYYY-MM-DD, or with a time as YYYY-MM-DD HH:MM"
            ) from None
    zoned = [value.tzinfo is not None for value in values.values()]
    if any(zoned) and not all(zoned):
        text = next(text for text, value in values.items() if value.tzinfo is None)
        raise DataError(
            f"cutoff {text!r} of {name} has no offset, and others have one; write all with an offset or none"
        )
    moments = [value.astimezone(UTC) if zoned[0] else value for value in values.values()]
    known = pl.Series(moments, dtype=pl.Datetime("us", "UTC" if zoned[0] else None))
    return cutoff.replace_strict(pl.Series(list(values)), known, return_dtype=known.dtype)


def _day_and_clock(cutoff: pl.Series, log: EventLog, name: str) -> tuple[pl.Series, pl.Series | None]:
    """Days (R,) since 1970-01-01 and milliseconds (R,) since midnight in the log's zone; None for dates."""
    if cutoff.dtype == pl.Date:
        return cutoff.cast(pl.Int32).cast(pl.Int64), None
    if log.time is None:
        first = cutoff.filter(cutoff.dt.time() != time(0))[0]
        raise DataError(
            f"cutoff {first} of {name} has a time of day, and the log has no times; give dates, or prepare the log "
            "with data.source.columns.time=<column>"
        )
    assert isinstance(cutoff.dtype, pl.Datetime)
    if cutoff.dtype.time_zone:
        cutoff = cutoff.dt.convert_time_zone(log.timezone or "UTC").dt.replace_time_zone(None)
    milliseconds = cutoff.dt.epoch("ms")
    return milliseconds // DAY, milliseconds % DAY


def resolve(
    table: pl.DataFrame,
    log: EventLog,
    offers: Sequence[str],
    name: str,
    say: Callable[[str], None],
    everybody: bool = False,
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
    everybody : bool, optional
        Whether guests and objectors are left in.

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
    day, clock = _day_and_clock(table[CUTOFF], log, name)
    if (early := table.filter(day <= log.first_day)).height:
        customer, cutoff = early.row(0)[:2]
        raise ConfigurationError(
            f"cutoff {cutoff} of customer {customer} in {name} is not after the first purchase of the log "
            f"({to_date(log.first_day)}); use a later cutoff"
        )
    keys = ["day", *(["clock"] if clock is not None else []), "row"]
    numbered = table.with_columns(
        row=_places(table[CUSTOMER], log.customers["customer"].cast(pl.String), f"{name} names customer", "customer"),
        day=day,
        **({} if clock is None else {"clock": clock}),
        **({} if OFFER not in table.columns else {"offer": _offer_places(table[OFFER], offers, name)}),
    ).select(*keys, *(["offer"] if OFFER in table.columns else []))
    unique = numbered.unique().sort(*numbered.columns)
    if twice := numbered.height - unique.height:
        say(f"{twice} requests of {name} stand there more than once and are answered once")
    allowed = _allowed(log, unique["row"].to_numpy(), unique["day"].to_numpy()) | everybody
    if left_out := int((~allowed).sum()):
        say(f"{left_out} requests of {name} are of guests or of customers who object to profiling, and get no score")
    unique = unique.filter(pl.Series(allowed))
    if unique.is_empty():
        raise DataError(f"no request of {name} may be scored: all are of guests or objectors to profiling; add others")
    groups = unique.group_by(keys, maintain_order=True).agg(pl.len())
    clocks = None if clock is None else groups["clock"].to_numpy()
    requests = Requests(groups["row"].to_numpy(), groups["day"].to_numpy(), None, clocks)
    if OFFER not in table.columns:
        return requests
    offsets = np.concatenate([[0], np.cumsum(groups["len"].to_numpy())]).astype(np.int64)
    return requests._replace(named=(offsets, unique["offer"].to_numpy()))


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
