"""The customers of a log without a score at a cutoff, each with the reason, beside the scores."""

from __future__ import annotations

from pathlib import Path

from propensity.atomic import whole_file
from propensity.data.event_log import EventLog
from propensity.data.registrant import counted_reasons, not_scored
from propensity.data.table_file import write_table


def not_scored_path(out: Path) -> Path:
    """The file beside a table or a folder of scores.

    Examples
    --------
    >>> not_scored_path(Path("out/scores.parquet")).as_posix(), not_scored_path(Path("out/scores")).as_posix()
    ('out/scores.not_scored.parquet', 'out/scores.not_scored.parquet')
    """
    return out.with_name(f"{out.stem if out.suffix == '.parquet' else out.name}.not_scored.parquet")


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
