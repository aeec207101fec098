"""Where tables of scores lie: files, parts and folders, and what their metadata name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from propensity.data.table_file import LOG, RUN
from propensity.errors import ConfigurationError, DataError

CONFIG, TASK = "config.yaml", "task.json"  # settings of a run, and of a bundle
PARTS, COMPLETE = "part-*.parquet", "parts.json"  # of the scores of a bundle: files, and how many there are


def scored_log(path: str | Path) -> str | None:
    """Folder of the event log that stands in the metadata of a table of scores; None where the file names none.

    Parameters
    ----------
    path : str or Path
        See `score_files`.
    """
    return file_metadata(path).get(LOG)


def scoring_model(path: str | Path) -> Path | None:
    """Folder of the run or bundle that stands in the metadata of a table of scores; None where the file names none.

    Parameters
    ----------
    path : str or Path
        See `score_files`.
    """
    named = file_metadata(path).get(RUN)
    return None if named is None else Path(named)


def run_of_scores(path: str | Path) -> Path:
    """Folder of the run that gave a table of scores: the one it lies in, else the one that its metadata names.

    Parameters
    ----------
    path : str or Path
        See `score_files`.

    Returns
    -------
    Path
        The folder of the table where neither holds a run. Scores of a bundle lie in a folder with its settings.
    """
    named, beside = scoring_model(path), folder_of_scores(path)
    if named is None or _has_settings(beside) or not _has_settings(named):
        return beside
    return named


def _has_settings(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (CONFIG, TASK))


def settings_file(folder: Path) -> Path:
    """The settings of a run, or of the bundle that gave scores, in a folder.

    Parameters
    ----------
    folder : Path
        What `run_of_scores` returns.

    Returns
    -------
    Path
        That of a run where there is neither.
    """
    return folder / (TASK if (folder / TASK).is_file() and not (folder / CONFIG).is_file() else CONFIG)


def folder_of_scores(path: str | Path) -> Path:
    """The folder that a table of scores lies in.

    Parameters
    ----------
    path : str or Path
        See `score_files`.
    """
    return Path(path) if Path(path).is_dir() else Path(path).parent


def score_files(path: str | Path) -> list[Path]:
    """Files of a table of scores.

    Parameters
    ----------
    path : str or Path
        A Parquet file, a pattern of files such as `scores/part-*.parquet`, or a folder of scores: of parts that a
        bundle wrote, or with a `scores.parquet`.

    Returns
    -------
    list of Path
        In the order of their names.

    Raises
    ------
    ConfigurationError
        If there is none.
    """
    path = Path(path)
    if path.is_dir():
        one = path / "scores.parquet"
        files = [one] if one.is_file() else sorted(path.glob(PARTS))
    else:
        files = [path] if path.is_file() or "*" not in path.name else sorted(path.parent.glob(path.name))
    if not files or not all(file.is_file() for file in files):
        raise ConfigurationError(f"no scores at {path}; write them with propensity score out={path}")
    return files


def file_metadata(path: str | Path) -> dict[str, str]:
    """Metadata of the first file of a table of scores."""
    return pl.read_parquet_metadata(score_files(path)[0])


def require_all_parts(folder: Path, files: Sequence[Path]) -> None:
    """Refuse the folder of a scoring that was interrupted: customers would be missing."""
    done = folder / COMPLETE
    if not done.is_file():
        return  # by an earlier version, or by another program
    expected = json.loads(done.read_text())["files"]
    if len(files) != expected:
        raise DataError(
            f"{folder} holds {len(files)} of {expected} parts of its scores; the same propensity score command "
            "writes the missing ones"
        )
