"""Which log a table was made from, and where the tables of a log lie.

Evidence is, from the table upwards: a line of the audit log that names the file or a folder around it, the
`request.json` of batch scores, and the `config.yaml` of a run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from hydra.utils import instantiate

from propensity import audit
from propensity.data.event_log import EventLog
from propensity.data.table_file import LOG
from propensity.errors import DataError, PropensityError
from propensity.trust import DATA, check_targets, read_yaml

TABLES = (".parquet", ".csv", ".tsv")


class Origin(NamedTuple):
    """What a file says of its log."""

    log: str | None
    fingerprint: str | None


class Provenance:
    """Tables and trainings of a log.

    Parameters
    ----------
    log : EventLog
        The log.
    folder : Path
        Its folder.
    folders : sequence of Path
        Folders that are searched, the one of the audit log first.

    Notes
    -----
    What lines of the audit log name outside these folders is searched too, and so are the audit logs beside it.
    """

    def __init__(self, log: EventLog, folder: Path, folders: Sequence[Path]) -> None:
        self.folder, self.folders = folder.resolve(), [each for each in folders if each.is_dir()]
        self.fingerprints = {log.fingerprint, *log.meta.get("formerly", [])}
        self.entries: list[tuple[Path, dict[str, Any]]] = []
        files = {audit.audit_log(folders[0]), *(each for place in self.folders for each in place.rglob(audit.FILE))}
        self._read(files)
        self.origins = dict(self._named())
        self.tops = {each.resolve() for each in (*self.folders, *self.outside)}
        configs = [file for place in self.places for file in place.rglob("config.yaml")]
        configured = [_of_folder(file.parent) for file in configs]
        known = [*self.origins.values(), *(each for each in configured if each is not None)]
        self.only_log = all(self._is_log(each) for each in known)

    @property
    def outside(self) -> list[Path]:
        """Files and folders outside the given folders that the audit log names as made from the log."""
        inside = [self.folder, *(each.resolve() for each in self.folders)]
        named = [place for place, origin in self.origins.items() if self._is_log(origin) and place.exists()]
        apart = [each for each in named if not {each, *each.parents} & {*inside}]
        return sorted(each for each in apart if not {*each.parents} & {*apart})

    @property
    def places(self) -> list[Path]:
        """All folders and files that are searched, beside the log."""
        return [*self.folders, *self.outside]

    @property
    def copies(self) -> list[str]:
        """Files with the data of a customer that `export_customer` wrote and that still exist."""
        named = {str(e["copy"]) for _, e in self.entries if self._is_own(e) and isinstance(e.get("copy"), str)}
        return sorted(each for each in named if Path(each).is_file())

    def _read(self, files: set[Path]) -> None:
        """Read audit logs, and those beside what they name as made from the log."""
        seen: set[Path] = set()
        while new := {each.resolve() for each in files if each.is_file()} - seen:
            seen |= new
            entries = [(file, entry) for file in sorted(new) for entry in audit.entries(file)]
            self.entries += entries
            outs = [Path(str(e["out"])) for _, e in entries if self._is_own(e) and isinstance(e.get("out"), str)]
            files = {place / audit.FILE for out in outs for place in (out, out.parent)}

    def _is_own(self, entry: Mapping[str, Any]) -> bool:
        """Whether a line of the audit log is about the log."""
        return self._is_log(Origin(entry.get("log"), entry.get("fingerprint")))

    def _named(self) -> Iterator[tuple[Path, Origin]]:
        """Files and folders that lines of the audit log name, with the log of each."""
        for file, entry in self.entries:
            if entry.get("log") is None and entry.get("fingerprint") is None:
                continue
            for name in (entry.get(key) for key in ("run", "out") if isinstance(entry.get(key), str)):
                for place in (Path(str(name)), file.parent / Path(str(name)).name):
                    yield place.resolve(), Origin(entry.get("log"), entry.get("fingerprint"))

    def _is_log(self, origin: Origin) -> bool:
        """Whether an origin is the log: by its content, now or formerly, or else by its folder."""
        if origin.fingerprint in self.fingerprints:
            return True
        return origin.log is not None and Path(origin.log).resolve() == self.folder

    def of_log(self, file: Path) -> bool | None:
        """Whether a file was made from the log.

        Parameters
        ----------
        file : Path
            File in one of the places or in the log.

        Returns
        -------
        bool or None
            None if nothing says from which of several logs it was made.
        """
        place = file.resolve()
        if self.folder in place.parents:
            return True
        for each in (place, *place.parents):
            origin = self.origins.get(each) or (_of_folder(each) if each.is_dir() else _of_table(each))
            if origin is not None:
                return self._is_log(origin)
            if each in self.tops:
                break
        return True if self.only_log else None

    def tables(self) -> list[Path]:
        """Tables in the places that were made from the log."""
        files = {file for place in self.places for file in (place.rglob("*") if place.is_dir() else [place])}
        tables = sorted(each for each in files if each.suffix in TABLES and each.is_file())
        return [each for each in tables if self.folder not in each.resolve().parents and self.of_log(each)]

    def trainings(self) -> Iterator[dict[str, Any]]:
        """Lines of the audit log of trainings on the log."""
        for _, entry in self.entries:
            if self._is_own(entry) and "run" in entry and entry.get("action", "train") == "train":
                yield entry


def _of_folder(folder: Path) -> Origin | None:
    """The log that the settings in a folder name, None without settings."""
    try:
        if (folder / "request.json").is_file():
            return Origin(None, str(json.loads((folder / "request.json").read_text())["log"]))
        if (folder / "config.yaml").is_file():
            return Origin(log_folder(folder / "config.yaml"), None)
    except (PropensityError, ValueError, KeyError, TypeError):
        return None
    return None


def _of_table(file: Path) -> Origin | None:
    """The log that the metadata of scores name; None without any, or where it is no longer there."""
    try:
        log = pl.read_parquet_metadata(file).get(LOG) if file.suffix == ".parquet" else None
    except (pl.exceptions.PolarsError, OSError):
        return None
    return Origin(log, None) if log is not None and Path(log).is_dir() else None


def log_folder(config: Path) -> str | None:
    """Folder of the event log that the configuration of a run names; None without a configuration."""
    return log_of_task(configured_task(config)) if config.is_file() else None


def log_of_task(task: Any) -> str:
    """Folder of the event log of a task, the default one where it names none."""
    return str(task.log or task.default_log)


def configured_task(config: Path) -> Any:
    """Build the task that the configuration of a run describes.

    Parameters
    ----------
    config : Path
        The configuration, `config.yaml`; or `task.json` of a bundle.

    Returns
    -------
    Task
        A `propensity.task.Task`, which this module does not import.

    Raises
    ------
    DataError
        If the file is no configuration of a run.
    IntegrityError
        If it asks for a class outside this package's data layer.
    """
    data = read_yaml(config)
    if config.suffix != ".json":
        data = data.get("data") if isinstance(data, dict) else None
    if not isinstance(data, dict) or "_target_" not in data:
        raise DataError(f"{config} is no configuration of a run (it has no group data); train again")
    check_targets(data, config, DATA)
    return instantiate(data, _convert_="all")
