"""The table of a network's state vectors, for segments."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from propensity.atomic import whole_file
from propensity.audit import append_beside
from propensity.data.cutoff import parse_cutoff
from propensity.data.table_file import write_table
from propensity.training.checkpoint import load_trained
from propensity.training.predict import states


def write_states(run: str | Path, cutoff: str, out: str | Path) -> pl.DataFrame:
    """Write the state of every customer at a cutoff, and a line of the audit log.

    Parameters
    ----------
    run : str or Path
        Folder of a trained run.
    cutoff : str
        ISO date.
    out : str or Path
        Parquet file.

    Returns
    -------
    polars.DataFrame
        customer_id and state_0 to state_D; the metadata of the file name the cutoff.
    """
    with whole_file(out) as draft:
        trained = load_trained(run)
        log = trained.task.open()
        date = parse_cutoff(log, cutoff, trained.task.horizon)
        table = states(trained.model, trained.task.cutoff_data(log, date, trained.vocabulary))
        write_table(table, draft, {"propensity.cutoff": str(date)})
    entry = {"model": str(run), "log": str(log.folder), "fingerprint": log.fingerprint, "cutoff": str(date)}
    append_beside(Path(run).resolve().parent, out, "states", entry)
    return table
