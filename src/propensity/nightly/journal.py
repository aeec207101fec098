"""Which steps of a night are done, by a fingerprint of what each follows from; a done step is not repeated."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from propensity import __version__
from propensity.checksum import crc32, hexadecimal
from propensity.errors import IntegrityError
from propensity.nightly.signed_file import read_signed, write_signed

Result = dict[str, Any]


class Entry(NamedTuple):
    """A step that was begun: its fingerprint, and its result once it is done."""

    fingerprint: str
    result: Result | None
    files: dict[str, str]  # checksums of what it wrote, by path


class Journal:
    """The steps of a night, a file each.

    Parameters
    ----------
    folder : Path
        Folder of the journal; it is made when a step begins.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, step: str) -> Path:
        return self.folder / f"{step}.json"

    def read(self, step: str) -> Entry | None:
        """The entry of a step; None without one, or if the file is damaged."""
        try:
            content = read_signed(self._path(step), "the step is done again")
        except IntegrityError:
            return None
        return Entry(str(content["fingerprint"]), content["result"], dict(content["files"]))

    def done(self, step: str, mark: str, outputs: Sequence[Path]) -> Result | None:
        """The result of a step.

        Parameters
        ----------
        step : str
            Name.
        mark : str
            Fingerprint of what the step would follow from now.
        outputs : sequence of Path
            What it writes.

        Returns
        -------
        dict or None
            None if the step was not done, was done from something else, or what it wrote was changed or removed.
        """
        entry = self.read(step)
        if entry is None or entry.result is None or entry.fingerprint != mark:
            return None
        return entry.result if entry.files == checksums(outputs, self.folder.parent) else None

    def begin(self, step: str, mark: str, outputs: Sequence[Path]) -> None:
        """Note that a step begins; what it wrote from something else is removed first."""
        entry = self.read(step)
        if entry is None or entry.fingerprint != mark:
            remove(outputs)
        self._write(step, Entry(mark, None, {}))

    def drop(self, step: str, outputs: Sequence[Path]) -> None:
        """Remove the entry of a step and what it wrote, where an earlier attempt of the night did it."""
        remove(outputs)
        self._path(step).unlink(missing_ok=True)

    def end(self, step: str, mark: str, result: Result, outputs: Sequence[Path]) -> None:
        """Note that a step is done, with its result and the checksums of what it wrote."""
        self._write(step, Entry(mark, result, checksums(outputs, self.folder.parent)))

    def _write(self, step: str, entry: Entry) -> None:
        write_signed(self._path(step), entry._asdict())


def remove(paths: Sequence[Path]) -> None:
    """Remove files and folders, those that are there."""
    for path in paths:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def checksums(paths: Sequence[Path], folder: Path) -> dict[str, str]:
    """Checksums of files, and of the files of folders, by their path from `folder`; hidden files are left out."""
    files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    named = [file for file in files if file.is_file() and not file.name.startswith(".")]
    return {file.relative_to(folder).as_posix(): crc32(file) for file in named}


def fingerprint(step: str, inputs: Mapping[str, Any]) -> str:
    """Hash of what a step follows from: its name, the version of the package and its inputs.

    Parameters
    ----------
    step : str
        Name.
    inputs : mapping
        Plain values.

    Examples
    --------
    >>> fingerprint("score", {"a": 1, "b": 2}) == fingerprint("score", {"b": 2, "a": 1}) != fingerprint("score", {})
    True
    """
    text = json.dumps([step, __version__, inputs], sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def files_in(settings: Any) -> dict[str, str]:
    """Checksums of the files that settings name, so that a step is repeated when one of them changes.

    Parameters
    ----------
    settings : any
        Nested containers.

    Returns
    -------
    dict of str to str
        By path; folders and what does not exist are left out.
    """
    if isinstance(settings, Mapping):
        return {name: value for child in settings.values() for name, value in files_in(child).items()}
    if isinstance(settings, list | tuple):
        return {name: value for child in settings for name, value in files_in(child).items()}
    if not isinstance(settings, str) or not settings or len(settings) > 1_024 or "\0" in settings:
        return {}
    file = Path(settings)
    return {settings: crc32(file) if file.stat().st_size else hexadecimal(0)} if file.is_file() else {}
