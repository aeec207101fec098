"""Contacts that were drawn one by one: from an event log, or a table; with the messages in the window before each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from propensity.ab.fatigue import NOT_SENT, ONLY_SENT
from propensity.ab.table import RefusedError
from propensity.ab.window import require_outcomes, require_window, window
from propensity.data.contact import sent_messages
from propensity.data.event_log import EPOCH, EventLog
from propensity.errors import ConfigurationError, DataError

DEFAULT_OUTCOMES = ("visit", "revenue")


def messages_before(customer: np.ndarray, day: np.ndarray, sent: np.ndarray, days: int) -> np.ndarray:
    """Messages that were sent to the same customer in the days before each contact.

    Parameters
    ----------
    customer, day : np.ndarray
        (C,) codes and days, in any order.
    sent : np.ndarray
        (C,) bool.
    days : int
        Length of the window; messages of the same day do not count.

    Returns
    -------
    np.ndarray
        (C,) int64.

    Examples
    --------
    >>> messages_before(np.array([1, 1, 1, 2]), np.array([0, 3, 9, 9]), np.array([True, True, False, True]), 7).tolist()
    [0, 1, 1, 0]
    """
    order = np.lexsort((day, customer))
    span = int(day.max() - day.min()) + days + 2 if day.size else 1
    place = customer.astype(np.int64)[order] * span + (day[order] - day.min(initial=day[0] if day.size else 0)) + days
    total = np.concatenate([[0], np.cumsum(sent[order])])
    first, last = np.searchsorted(place, place - days), np.searchsorted(place, place)
    out = np.empty(day.size, np.int64)
    out[order] = total[last] - total[first]
    return out


def contacts_of_log(
    log: EventLog, name: str | None, control: str | None, outcomes: Sequence[str], days: int, horizon: int
) -> tuple[pl.DataFrame, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Contacts of a log whose probabilities are known, with their outcomes and placebos.

    Parameters
    ----------
    log : EventLog
        The log.
    name : str, optional
        Experiment of the contacts; None: all with a probability.
    control : str, optional
        Arm of contacts that were not sent, beside `propensity.ab.fatigue.NOT_SENT`.
    outcomes : sequence of str
        Of `propensity.ab.window.window`.
    days, horizon : int
        Days in which messages before count, and in which outcomes count.

    Returns
    -------
    pl.DataFrame
        See `propensity.ab.fatigue.fatigue_of_contacts`.
    dict, dict
        Outcomes after the contacts, and before them.

    Raises
    ------
    RefusedError
        If no contact has a probability, or none has its days in the log.
    """
    table = sent_messages(log).with_columns(sent=~pl.col("arm").is_in([*NOT_SENT, *([control] if control else [])]))
    table = table.with_columns(pl.col("sent").fill_null(True), number=(pl.col("day") - EPOCH).dt.total_days())
    day = table["number"].to_numpy()
    table = table.with_columns(before=messages_before(table["row"].to_numpy(), day, table["sent"].to_numpy(), days))
    chosen = pl.lit(True) if name is None else pl.col("experiment") == name
    drawn = table.filter(pl.col("probability").is_not_null() & chosen)
    if not drawn.height:
        which = "" if name is None else f" of experiment {name!r}"
        raise RefusedError(
            f"no contact{which} in the log has a probability, so who got how many messages was chosen and not drawn: "
            "no effect of the number can be known; give arms=<table of ab split> with different numbers of messages"
        )
    inside = drawn.filter(pl.col("number").is_between(log.first_day + horizon, log.last_day - horizon + 1))
    if not inside.height:
        require_window(log, int(drawn["number"].min()) - horizon, int(drawn["number"].max()) + horizon)  # type: ignore[arg-type]
    names = list(outcomes) or list(DEFAULT_OUTCOMES)
    after, before = ({each: np.zeros(inside.height) for each in names} for _ in range(2))
    row, number = inside["row"].to_numpy(), inside["number"].to_numpy()
    for each in np.unique(number).tolist():
        place = np.flatnonzero(number == each)
        for values, start in ((after, each), (before, each - horizon)):
            whole = window(log, start, start + horizon)
            require_outcomes(names, whole)
            for outcome in names:
                values[outcome][place] = whole[outcome][row[place]]
    return inside.select(pl.col("row").alias("customer"), "sent", "probability", "before"), after, before


def contacts_of_table(
    table: pl.DataFrame, columns: dict[str, str | None], outcomes: Sequence[str], before: Sequence[str], days: int
) -> tuple[pl.DataFrame, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The same from a table with one row per contact: customer, day, arm (the control was not sent) and probability.

    Parameters
    ----------
    table : pl.DataFrame
        The contacts.
    columns : dict of str to str
        Columns `customer`, `sent` (the day), `arm`, `probability`, and the name of the `control`.
    outcomes, before : sequence of str
        Columns of outcomes after and before the contact.
    days : int
        Days in which messages before count.

    Raises
    ------
    ConfigurationError
        If a column is not named or not there.
    DataError
        If a cell is missing, or a customer has two contacts on a day.
    """
    for key in ("customer", "sent", "probability", "control"):
        if columns[key] is None:
            raise ConfigurationError(
                f"{key} is not given; contacts that were drawn need customer, sent (the day), arm, control and "
                "probability, and arms with different numbers need messages=<column>"
            )
    customer, sent, arm, probability = (str(columns[key]) for key in ("customer", "sent", "arm", "probability"))
    for name in (customer, sent, arm, probability, *outcomes, *before):
        if name not in table.columns:
            raise ConfigurationError(f"the table has no column {name!r}; it has {', '.join(table.columns)}")
        if table[name].null_count():
            raise DataError(f"{name} is missing in {table[name].null_count():,} rows; every contact needs it")
    if not outcomes:
        raise ConfigurationError("outcomes is empty; name at least one column that was measured after the contact")
    try:
        day = table[sent].str.to_date() if table[sent].dtype == pl.String else table[sent].cast(pl.Date)
    except pl.exceptions.PolarsError:
        raise DataError(f"column {sent} holds something else than dates; write them as YYYY-MM-DD") from None
    if twice := table.height - table.select(customer, day.alias("?day")).unique().height:
        raise DataError(f"{twice:,} customers have two contacts on a day; keep one row per customer and day")
    was_sent = (table[arm].cast(pl.String) != columns["control"]).to_numpy()
    if not was_sent.any() or was_sent.all():
        raise RefusedError(ONLY_SENT)
    _, code = np.unique(table[customer].cast(pl.String).to_numpy(), return_inverse=True)
    count = messages_before(code, (day - EPOCH).dt.total_days().to_numpy(), was_sent, days)
    rows = pl.DataFrame({"customer": code, "sent": was_sent, "probability": table[probability], "before": count})
    after, placebos = (
        {name: table[name].cast(pl.Float64).to_numpy() for name in names} for names in (outcomes, before)
    )
    return rows, after, placebos
