"""Looks for damage in logs, runs and bundles: every file is compared with the checksum of the time it was written."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import polars as pl

from propensity.checksum import FILE as CHECKSUMS
from propensity.checksum import check_folder, covered_files, is_sealed, read_checksums
from propensity.data.event_log import EventLog, fingerprint
from propensity.data.log_folder import META, first_line, log_damage, read_meta
from propensity.data.segment import list_segments
from propensity.data.table_file import read_table
from propensity.errors import ConfigurationError, DamageError, IntegrityError
from propensity.serving import verify
from propensity.serving.bundle import UNREADABLE as BUNDLE_UNREADABLE
from propensity.serving.session import session
from propensity.training.checkpoint import FILE as CHECKPOINT
from propensity.training.storage import check_checkpoint

UNREADABLE: tuple[type[Exception], ...] = (OSError, *BUNDLE_UNREADABLE)
SHOWN = 3  # names of files without a checksum


def verify_all(log: str | Path | None, run: str | Path | None, bundle: str | Path | None) -> Iterator[str]:
    """Verify a log, a run and a bundle.

    Parameters
    ----------
    log, run, bundle : str or Path, optional
        Folders; at least one is required.

    Yields
    ------
    str
        One sentence for each folder without damage.

    Raises
    ------
    ConfigurationError
        If none is given, or a folder is not there.
    IntegrityError
        For the first damaged file.
    """
    if log is None and run is None and bundle is None:
        raise ConfigurationError("nothing to verify; give log=<folder>, run=<folder> or bundle=<folder>")
    if log is not None:
        yield verify_log(log)
    if run is not None:
        yield verify_run(run)
    if bundle is not None:
        yield verify_bundle(bundle)


def verify_log(folder: str | Path) -> str:
    """Compare a log with its checksums, and its content with its fingerprint if it has none.

    Parameters
    ----------
    folder : str or Path
        Folder of the log.

    Returns
    -------
    str
        One sentence.

    Raises
    ------
    ConfigurationError
        If there is no log.
    DamageError
        If it is damaged.
    """
    folder = Path(folder)
    log = EventLog.open(folder, verify=True)
    files = log.meta.get("files")
    if files is None:
        if fingerprint(log) != log.fingerprint:
            raise log_damage(folder)(META, f"its content has not the fingerprint {log.fingerprint}")
        return f"{folder}: the content has the fingerprint {log.fingerprint}; its files have no checksums"
    known = [META, *files, *list_segments(folder, read_meta(folder)).files]
    return f"{folder}: {len(known)} files are as they were written{_others(folder, known)}"


def verify_run(folder: str | Path) -> str:
    """Compare a run or a folder of scores with its checksums.

    Parameters
    ----------
    folder : str or Path
        Folder that a training, `backtest`, `compare` or `score` wrote; runs inside it are verified too.

    Returns
    -------
    str
        One sentence.

    Raises
    ------
    ConfigurationError
        If there is nothing to verify.
    DamageError
        If a file is damaged or missing.
    """
    folder = Path(folder)
    sealed = [path.parent for path in sorted(folder.rglob(CHECKSUMS))] if folder.is_dir() else []
    checkpoints = sorted(folder.rglob(CHECKPOINT)) if folder.is_dir() else []
    if not sealed and not checkpoints:
        raise ConfigurationError(f"no run at {folder}; train one with propensity train out={folder}")
    count = sum(check_folder(each) for each in sealed)
    for path in checkpoints:
        check_checkpoint(path)
    for path in sorted(folder.glob("*.parquet")):
        _read(path)
    if not is_sealed(folder):
        return f"{folder}: {count} files are as they were written; others have no checksums, but can be read"
    return f"{folder}: {count} files are as they were written{_others(folder, read_checksums(folder))}"


def _read(path: Path) -> None:
    """Read a table; DamageError if it cannot be read or differs from its checksum."""
    try:
        read_table(path)
    except (pl.exceptions.PolarsError, OSError, MemoryError) as error:
        raise DamageError(f"{path} is damaged ({first_line(error)}); write it again") from None


def verify_bundle(folder: str | Path) -> str:
    """Compare a bundle with its manifest, and the model with its golden outputs. Nothing in the bundle is run.

    Parameters
    ----------
    folder : str or Path
        Folder of the bundle.

    Returns
    -------
    str
        One sentence.

    Raises
    ------
    ConfigurationError
        If there is no such folder.
    IntegrityError
        If a file was changed, or the model does not reproduce the golden outputs.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigurationError(f"no bundle at {folder}; make one with propensity export out={folder}")
    try:
        manifest = verify.read_manifest(folder)
        verify.verify_outputs(folder, session(folder / "model.onnx"))
    except verify.VerificationError as error:
        raise IntegrityError(str(error)) from None
    except UNREADABLE as error:
        raise IntegrityError(f"the bundle at {folder} cannot be read ({first_line(error)}); export again") from None
    digest = verify.sha256(folder / verify.MANIFEST)
    return f"{folder}: {len(manifest['files'])} files are as they were exported; digest {digest}"


def _others(folder: Path, known: Collection[str]) -> str:
    """The end of a sentence that names the files of a folder without a known checksum."""
    files = sorted(set(covered_files(folder)) - set(known))
    if not files:
        return ""
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return f"; {len(files)} have no checksum: {', '.join(files[:SHOWN])}{more}"
