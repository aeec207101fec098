"""Logs and tables of the Python interface as code below takes them: opened, or as folders and files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError


@contextmanager
def files_of(**tables: Any) -> Iterator[dict[str, Any]]:
    """Paths of tables for code that reads files: a path stays, a frame is written to a temporary Parquet file.

    Parameters
    ----------
    tables
        By name: a path, a Polars or pandas frame, or None, which is left out.

    Yields
    ------
    dict of str to str
        Paths by name, which exist within the context.

    Raises
    ------
    ConfigurationError
        If a table is something else.
    """
    from propensity.evaluation.predictor import polars_frame

    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name, table in tables.items():
            if table is None:
                continue
            if isinstance(table, str | Path):
                paths[name] = str(table)
            elif (frame := polars_frame(table)) is not None:
                paths[name] = f"{folder}/{name}.parquet"
                frame.write_parquet(paths[name])
            else:
                raise ConfigurationError(
                    f"{name} is a {type(table).__name__}; give a Polars or pandas frame, or a path"
                )
        yield paths


def opened_log(log: EventLog | str | Path) -> EventLog:
    """The log itself, or that of a folder."""
    return log if isinstance(log, EventLog) else EventLog.open(log)


def log_folder(log: EventLog | str | Path) -> Path:
    """The folder of a log; ConfigurationError for one in memory."""
    if not isinstance(log, EventLog):
        return Path(log)
    if log.folder is None:
        raise ConfigurationError(
            "the event log lies in memory; write it with log.save(folder) and use what that returns"
        )
    return log.folder
