"""Which log a table under a folder of runs was made from.

Evidence is, from the table upwards: a line of the audit log that names the file or a folder around it, the
`request.json` of batch scores, and the `config.yaml` of a run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hydra.utils import instantiate

from propensity import audit
from propensity.data.event_log import EventLog
from propensity.errors import DataError, PropensityError
from propensity.trust import DATA, check_targets, read_yaml

TABLES = (".parquet", ".csv", ".tsv")


class Origin(NamedTuple):
    """What a file says of its log."""

    log: str | None
    fingerprint: str | None


class Provenance:
    """Tables and trainings of a log under a folder of runs.

    Parameters
    ----------
    log : EventLog
        The log.
    folder : Path
        Its folder.
    runs : Path
        Folder that is searched.
    """

    def __init__(self, log: EventLog, folder: Path, runs: Path) -> None:
        self.folder, self.runs = folder.resolve(), runs
        self.fingerprints = {log.fingerprint, *log.meta.get("formerly", [])}
        files = {*runs.rglob(audit.FILE)} if runs.is_dir() else set()
        files |= {path for path in (audit.audit_log(runs),) if path.is_file()}
        self.entries = [(file, entry) for file in sorted(files) for entry in audit.entries(file)]
        self.origins = dict(self._named())
        configured = [_of_folder(file.parent) for file in runs.rglob("config.yaml")] if runs.is_dir() else []
        known = [*self.origins.values(), *(each for each in configured if each is not None)]
        self.only_log = all(self._is_log(each) for each in known)

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
            File in the folder of runs or in the log.

        Returns
        -------
        bool or None
            None if nothing says from which of several logs it was made.
        """
        place, top = file.resolve(), self.runs.resolve()
        if self.folder in place.parents:
            return True
        while True:
            origin = self.origins.get(place) or (_of_folder(place) if place.is_dir() else None)
            if origin is not None:
                return self._is_log(origin)
            if place == top or top not in place.parents:
                return True if self.only_log else None
            place = place.parent

    def tables(self) -> list[Path]:
        """Tables under the folder of runs that were made from the log."""
        files = sorted(self.runs.rglob("*")) if self.runs.is_dir() else []
        tables = [each for each in files if each.suffix in TABLES and each.is_file()]
        return [each for each in tables if self.folder not in each.resolve().parents and self.of_log(each)]

    def trainings(self) -> Iterator[dict[str, Any]]:
        """Lines of the audit log of trainings on the log."""
        for _, entry in self.entries:
            of_log = self._is_log(Origin(entry.get("log"), entry.get("fingerprint")))
            if of_log and "run" in entry and entry.get("action", "train") == "train":
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
        The configuration, `config.yaml`.

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
    data = data.get("data") if isinstance(data, dict) else None
    if not isinstance(data, dict) or "_target_" not in data:
        raise DataError(f"{config} is no configuration of a run (it has no group data); train again")
    check_targets(data, config, DATA)
    return instantiate(data, _convert_="all")
