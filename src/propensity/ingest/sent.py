"""Contacts of what was sent enter a log after the days of their outcomes, with campaign, arm, probability, cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.data.contact import CONTACT_COLUMNS, contact_key, contact_table, sent_messages
from propensity.data.event_log import COLUMNS, EPOCH, MISSING, OPTIONAL, EventLog, to_date
from propensity.errors import DataError
from propensity.ingest.append import merge_logs
from propensity.ingest.compact import copy_other_files, open_whole, rewriting
from propensity.ingest.retention import retain
from propensity.ingest.rule.matching import rows_of
from propensity.kernel.event import MESSAGE
from propensity.kernel.ragged import offsets_of

IDENTITY = ("row", "day", "campaign", "experiment")  # of a contact
WAVE = ("day", "campaign", "experiment")  # contacts that were sent together


def append_contacts(contacts: pl.DataFrame, out: str | Path) -> tuple[EventLog, int, int]:
    """Append messages to a log that may already hold the days after them.

    Parameters
    ----------
    contacts : polars.DataFrame
        One row per message: `customer_id` as the log stores it, `day` (Date), and those known of `channel`, `campaign`,
        `offer`, `arm`, `experiment`, `probability` and `cost`.
    out : str or Path
        Folder of the log, which is replaced in one step.

    Returns
    -------
    EventLog
        The log with the messages; the same log if it has them already.
    int, int
        Messages that were added, and messages of customers whom the log does not have, which are left out.

    Raises
    ------
    DataError
        If a customer gets a campaign twice on a day, a probability is missing, 0 or above 1, a message is later than
        the log, or the log has the same campaign of the same day with other customers.
    """
    out = Path(out)
    old = open_whole(out)
    known = _known(contacts, old)
    left_out = contacts.height - known.height
    _check(known, old)
    known = _new(known, old)
    if not known.height:
        return old, 0, left_out
    with rewriting(out, old) as draft:
        copy_other_files(out, None, draft)
        merged = merge_logs(old, _messages(known, old), {"item": False, "customer": False}, draft)
        retain(merged, old.meta.get("keep"), draft).seal(draft)
    return EventLog.open(out), known.height, left_out


def _known(contacts: pl.DataFrame, log: EventLog) -> pl.DataFrame:
    """The contacts of customers of the log, with all columns and the customer's row."""
    kinds = dict.fromkeys(("channel", *CONTACT_COLUMNS), pl.String()) | {
        "probability": pl.Float64(),
        "cost": pl.Float64(),
    }
    columns = [(pl.col(name) if name in contacts.columns else pl.lit(None)).cast(kind).alias(name)
               for name, kind in kinds.items()]  # fmt: skip
    row = rows_of(contacts["customer_id"], log.customers["customer"])
    table = contacts.select(pl.Series("row", row), pl.col("day").cast(pl.Date), *columns)
    return table.filter(pl.col("row") >= 0)


def _check(known: pl.DataFrame, log: EventLog) -> None:
    """Refuse contacts that contradict themselves or are later than the log."""
    if not known.height:
        raise DataError(
            "no customer of the contacts is in the log; give the log of the customers that they were sent to"
        )
    if known["day"].null_count():
        raise DataError(f"{known['day'].null_count():,} contacts have no day; write the day of each send")
    if twice := known.height - known.unique(IDENTITY).height:
        raise DataError(f"{twice:,} contacts repeat a campaign of the same customer and day; write each once")
    days = (known["day"] - EPOCH).dt.total_days().to_numpy()
    first, last = to_date(int(days.min())), to_date(int(days.max()))
    if last > to_date(log.last_event_day):
        raise DataError(
            f"contacts are sent until {last} and the log ends on {to_date(log.last_event_day)}; append "
            "the deliveries of these days first (propensity prepare append=true), then enter the contacts"
        )
    if first < to_date(log.first_event_day):
        raise DataError(f"contacts begin on {first}, before the log; give those of its days")
    p = known["probability"]
    if p.null_count() < known.height and (p.null_count() or not p.is_between(0, 1, closed="right").all()):
        raise DataError("contacts have a probability that is missing, 0 or above 1; write the one each was drawn with")
    if not known["cost"].drop_nulls().is_between(0, float("inf"), closed="left").all():
        raise DataError("contacts have a cost below 0 or not finite; write what each message cost")


def _new(known: pl.DataFrame, log: EventLog) -> pl.DataFrame:
    """Contacts whose wave the log does not have; DataError where it has the wave with other contacts."""
    sent = sent_messages(log).select(pl.col("row").cast(pl.Int64), *IDENTITY[1:])
    present = known.join(sent.select(WAVE).unique(), on=WAVE, how="semi", nulls_equal=True)
    if not present.height:
        return known
    same = present.join(sent.unique(), on=IDENTITY, how="semi", nulls_equal=True)
    whole = sent.join(known.select(WAVE).unique(), on=WAVE, how="semi", nulls_equal=True)
    if same.height < present.height or whole.unique().height > present.height:
        day, campaign = str(present["day"][0]), str(present["campaign"][0])
        raise DataError(
            f"campaign {campaign} of {day} is in the log with other customers ({same.height:,} of {present.height:,} "
            "contacts are the same); a campaign enters once: give the table of what was sent, or another name"
        )
    return known.join(present.select(WAVE).unique(), on=WAVE, how="anti", nulls_equal=True)


def _messages(known: pl.DataFrame, old: EventLog) -> EventLog:
    """The contacts as a log of the same customers and items."""
    known = known.sort("row", "day", maintain_order=True)
    n = known.height
    channels = known["channel"].drop_nulls().unique().sort().to_list()
    keys = contact_key(known)
    vocabulary = keys.drop_nulls().unique().sort()
    columns: dict[str, Any] = {name: np.zeros(n, kind) for name, kind in COLUMNS.items()}
    columns |= {name: np.full(n, MISSING[name], kind) for name, kind in OPTIONAL.items() if name != "time"}
    columns["day"][:] = (known["day"] - EPOCH).dt.total_days().to_numpy()
    columns["kind"][:], columns["item"][:], columns["order"][:] = MESSAGE, -1, -1
    columns["channel"][:] = _codes(known["channel"], channels)
    columns["contact"][:] = _codes(keys, vocabulary.to_list())
    for name in ("probability", "cost"):
        columns[name][:] = known[name].fill_null(float("nan")).to_numpy()
    rows: dict[str, Any] = {"in": n, "used": n, "merged": {}, "quarantined": {}, "dropped": {}}
    return EventLog(
        offsets=offsets_of(np.bincount(known["row"].to_numpy(), minlength=len(old))),
        item_known=old.item_known,
        customers=old.customers,
        items=old.items,
        meta={"rows": rows, "warnings": {}, "channels": channels}
        | {"first_day": old.first_day, "last_day": old.last_day},
        contacts=contact_table(vocabulary),
        **columns,
    )


def _codes(names: pl.Series, known: list[str]) -> np.ndarray:
    """Position of each name, -1 for null."""
    place = {name: k for k, name in enumerate(known)}
    return np.array([place.get(name, -1) for name in names.to_list()])
