"""Requests without a score, each with the reason, beside the scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from propensity.atomic import whole_file
from propensity.catalogue.moment import cutoffs_of, ending_at
from propensity.catalogue.requests import Requests
from propensity.data.event_log import EventLog
from propensity.data.registrant import counted_reasons, not_scored, not_scored_path
from propensity.data.table_file import write_table

NOT_ON_SALE = "no requested offer is on sale at the cutoff"
NOTHING_SOLD = "no offer was sold in the days before the cutoff that the model looks at"


def unscored(
    log: EventLog, requests: Requests, scored: np.ndarray, registrants: bool, otherwise: str
) -> tuple[Requests, pl.Series]:
    """Requests without a score, and why.

    Parameters
    ----------
    log : EventLog
        The log.
    requests : Requests
        R requests, also those of guests and of objectors to profiling.
    scored : (R,) bool
        Which of them have a score.
    registrants : bool
        Whether the model scores customers without a purchase.
    otherwise : str
        Reason where nothing about the customer is one.

    Returns
    -------
    requests : Requests
        Those without a score.
    reason : polars.Series
        The reason of each.
    """
    left_out = requests.take(np.flatnonzero(~scored))
    clocks, every = left_out.clocks, pl.Series(range(len(log)), dtype=pl.Int64)
    reason = np.full(left_out.number, otherwise, dtype=object)
    for clock in np.unique(clocks).tolist():
        ended = ending_at(log, clock)
        for day in np.unique(left_out.day[clocks == clock]).tolist():
            table = not_scored(ended, day, registrants)
            of_customer = np.full(len(log), otherwise, dtype=object)
            row = table["customer_id"].replace_strict(log.customers["customer"], every, return_dtype=pl.Int64)
            of_customer[row.to_numpy()] = table["reason"].to_numpy()
            here = (left_out.day == day) & (clocks == clock)
            reason[here] = of_customer[left_out.customer[here]]
    return left_out, pl.Series(reason.tolist(), dtype=pl.String)


def write_unscored(
    requests: Requests,
    reason: pl.Series,
    ids: pl.Series,
    out: str | Path,
) -> str:
    """Write the requests without a score; no file where every request has one.

    Parameters
    ----------
    requests : Requests
        Those without a score.
    reason : polars.Series
        The reason of each.
    ids : polars.Series of length N
        Customer ids of the log.
    out : str or Path
        The table of scores.

    Returns
    -------
    str
        How many requests have no score, by reason, and the file; empty where every request has one.
    """
    path = not_scored_path(Path(out))
    if not requests.number:
        path.unlink(missing_ok=True)
        return ""
    table = pl.DataFrame(
        {
            "cutoff": cutoffs_of(requests.day, requests.clock),
            "customer_id": ids.gather(requests.customer),
            "reason": reason,
        }
    )
    with whole_file(path) as draft:
        write_table(table, draft)
    said = counted_reasons(table).replace("customers have", "requests have").replace("customer has", "request has")
    return f"{said}; {path} lists them"
