"""The customers of a log without a score at a cutoff, each with the reason, beside the scores."""

from __future__ import annotations

from pathlib import Path

from propensity.atomic import whole_file
from propensity.data.event_log import EventLog
from propensity.data.registrant import counted_reasons, not_scored, not_scored_path
from propensity.data.table_file import write_table


def write_not_scored(log: EventLog, day: int, registrants: bool, out: Path) -> str:
    """Write the customers without a score; no file where every customer has one.

    Parameters
    ----------
    log : EventLog
        The log that was scored.
    day : int
        Cutoff, in days since 1970-01-01.
    registrants : bool
        Whether the model scores customers without a purchase.
    out : Path
        Table or folder of the scores.

    Returns
    -------
    str
        How many customers have no score, by reason, and the file; empty where every customer has one.
    """
    table, path = not_scored(log, day, registrants), not_scored_path(out)
    if not table.height:
        path.unlink(missing_ok=True)
        return ""
    with whole_file(path) as draft:
        write_table(table, draft)
    return f"{counted_reasons(table)}; {path} lists them"
