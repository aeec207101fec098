"""Checksums of files: which files of a folder are what was written, and which have been damaged since.

A folder that is sealed has a `checksums.json` with the size and CRC-32 of its files. `propensity.atomic` renews the
entry of every file that it writes below such a folder. A CRC-32 finds damage, not an attack: who can write a file can
write its checksum too. Bundles have SHA-256 and a digest for that.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from propensity.errors import DamageError

FILE = "checksums.json"
SCHEMA = 1
MARK = "propensity_checksums"  # key of the schema number: another program's checksums.json has none
BLOCK = 1 << 20  # bytes read at a time
LEVELS = 4  # folders above a file in which its checksums.json is searched
THREADS = 2
NOT_COVERED = (  # a run's state that is removed at its end, and files that loggers of others append to
    *(FILE, ".*", "progress", "progress.npz", "evaluation.csv.*", "__pycache__"),
    *("mlruns", "mlflow.db*", "wandb", "events.out.tfevents.*"),
)


class FileRecord(NamedTuple):
    """Size and checksum of a file."""

    bytes: int
    crc32: str  # 8 hexadecimal digits after "0x"


def crc32(path: Path) -> str:
    """Compute the CRC-32 of a file, in constant memory.

    Parameters
    ----------
    path : Path
        File to read.

    Returns
    -------
    str
        8 hexadecimal digits after "0x".

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a"
    >>> _ = path.write_bytes(b"123456789")
    >>> crc32(path)
    '0xcbf43926'
    """
    value = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK):
            value = zlib.crc32(block, value)
    return hexadecimal(value)


def hexadecimal(value: int) -> str:
    """A checksum as text; "0x" keeps digits alone from looking like a phone number."""
    return f"0x{value:08x}"


def file_record(path: Path) -> FileRecord:
    """Size and checksum of a file.

    Parameters
    ----------
    path : Path
        File to read.

    Returns
    -------
    FileRecord
        Of its present content.
    """
    return FileRecord(path.stat().st_size, crc32(path))


def file_records(folder: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """Sizes and checksums of files of a folder, in plain containers for JSON.

    Parameters
    ----------
    folder : Path
        The folder.
    names : list of str
        Paths inside it, with forward slashes.

    Returns
    -------
    dict
        `FileRecord` as a mapping, by name.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        records = pool.map(lambda name: file_record(folder / name)._asdict(), names)
        return dict(zip(names, records, strict=True))


def covered_files(folder: Path) -> Iterator[str]:
    """Files below a folder that have a checksum in a sealed folder.

    Parameters
    ----------
    folder : Path
        The folder.

    Yields
    ------
    str
        Path inside the folder, in sorted order. Folders below it that are sealed themselves are left out.
    """
    for place, folders, files in os.walk(folder):
        relative = Path(place).relative_to(folder)
        own = [each for each in folders if not _is_left_out(each) and not (Path(place) / each / FILE).is_file()]
        folders[:] = sorted(own)
        yield from ((relative / name).as_posix() for name in sorted(files) if not _is_left_out(name))


def _is_left_out(name: str) -> bool:
    """Whether a file or folder of this name has no checksum."""
    return any(fnmatch(name, pattern) for pattern in NOT_COVERED)


def signed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Add a checksum of a JSON object to it.

    Parameters
    ----------
    content : mapping
        Plain values.

    Returns
    -------
    dict
        The content with `checksum`, which depends on every value and not on spaces or the order of keys.
    """
    rest = {name: value for name, value in content.items() if name != "checksum"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return rest | {"checksum": hexadecimal(zlib.crc32(text.encode()))}


def is_signed(content: Mapping[str, Any]) -> bool:
    """Whether a JSON object has the checksum of its own content.

    Parameters
    ----------
    content : mapping
        Plain values with `checksum`.

    Returns
    -------
    bool
        False if a value was changed, or there is no checksum.

    Examples
    --------
    >>> is_signed(signed({"a": 1})), is_signed(signed({"a": 1}) | {"a": 2})
    (True, False)
    """
    return content.get("checksum") == signed(content)["checksum"]


def seal_folder(folder: str | Path) -> None:
    """Write `checksums.json` for all files of a folder.

    Parameters
    ----------
    folder : str or Path
        Existing folder.
    """
    folder = Path(folder)
    with _only_one(folder):
        _write(folder, file_records(folder, list(covered_files(folder))))


def unseal_folder(folder: str | Path) -> None:
    """Remove the checksums of a folder whose files are about to be replaced.

    Parameters
    ----------
    folder : str or Path
        Any folder.
    """
    (Path(folder) / FILE).unlink(missing_ok=True)


def is_sealed(folder: str | Path) -> bool:
    """Whether a folder has checksums.

    Parameters
    ----------
    folder : str or Path
        Any folder.

    Returns
    -------
    bool
        True if it has a `checksums.json`, whole or damaged.
    """
    return (Path(folder) / FILE).is_file()


def note_written(path: Path, record: FileRecord | None = None) -> None:
    """Renew the checksum of a file or of all files of a folder, if a folder above it is sealed.

    Parameters
    ----------
    path : Path
        What was written or removed.
    record : FileRecord, optional
        Of a file, if it is known already; None reads it again.
    """
    folder = next((each for each in path.absolute().parents[:LEVELS] if is_sealed(each)), None)
    if folder is None:
        return
    name = path.absolute().relative_to(folder).as_posix()
    if any(_is_left_out(each) for each in Path(name).parts):
        return
    with _only_one(folder):
        try:
            records = read_checksums(folder)
        except DamageError:
            return  # of another program, or damaged: it is told where it is read
        others = {each: row for each, row in records.items() if each != name and not each.startswith(f"{name}/")}
        inside = [f"{name}/{each}" for each in covered_files(path)] if path.is_dir() else []
        names = inside if path.is_dir() else [name] if path.is_file() else []
        known = {name: record._asdict()} if record is not None else file_records(folder, names)
        _write(folder, others | known)


def read_checksums(folder: str | Path) -> dict[str, dict[str, Any]]:
    """Read the checksums of a sealed folder.

    Parameters
    ----------
    folder : str or Path
        Folder with a `checksums.json`.

    Returns
    -------
    dict
        `bytes` and `crc32` by name of the file.

    Raises
    ------
    DamageError
        If `checksums.json` is damaged.
    """
    path = Path(folder) / FILE
    try:
        content = json.loads(path.read_text())
        right = is_signed(content) and content[MARK] == SCHEMA
        files: dict[str, dict[str, Any]] = content["files"]
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        right = False
    if not right:
        raise DamageError(f"{path} is damaged; restore {folder} from a copy, or write it again")
    return files


Damage = Callable[[str, str], DamageError]  # from the name of a file and a reason to the error


def damage_of(folder: str | Path, way_out: str) -> Damage:
    """Errors that name a damaged file of a folder.

    Parameters
    ----------
    folder : str or Path
        The folder.
    way_out : str
        End of the message, such as "train again".

    Returns
    -------
    callable
        From the name of a file and a reason to the error.
    """
    return lambda name, reason: DamageError(f"{Path(folder) / name} is damaged ({reason}); {way_out}")


def check_folder(
    folder: str | Path, wanted: Callable[[str], bool] | None = None, way_out: str = "restore it from a copy"
) -> int:
    """Compare files of a sealed folder with their checksums.

    Parameters
    ----------
    folder : str or Path
        Folder; without a `checksums.json` nothing is compared.
    wanted : callable, optional
        Chooses files by name; all by default.
    way_out : str
        End of the message, such as "train again".

    Returns
    -------
    int
        Number of compared files.

    Raises
    ------
    DamageError
        If a file is missing or differs.
    """
    if not is_sealed(folder):
        return 0
    records = read_checksums(folder)
    chosen = {name: records[name] for name in records if wanted is None or wanted(name)}
    check_files(Path(folder), chosen, damage_of(folder, way_out))
    return len(chosen)


def check_files(folder: Path, records: Mapping[str, Mapping[str, Any]], damage: Damage) -> None:
    """Compare files with their sizes and checksums.

    Parameters
    ----------
    folder : Path
        Folder of the files.
    records : mapping
        `bytes` and `crc32` by name.
    damage : callable
        Makes the error, see `damage_of`.

    Raises
    ------
    DamageError
        For the first file that is missing, of another size or of another content.
    """
    check_sizes(folder, records, damage)
    for name, actual in file_records(folder, list(records)).items():
        if actual["crc32"] != records[name]["crc32"]:
            raise damage(name, f"its checksum is {actual['crc32']}, not {records[name]['crc32']}")


def check_sizes(folder: Path, records: Mapping[str, Mapping[str, Any]], damage: Damage) -> None:
    """Compare files with their sizes.

    Parameters are those of `check_files`.

    Raises
    ------
    DamageError
        For the first file that is missing or of another size.
    """
    for name, record in records.items():
        try:
            size = (folder / name).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            raise damage(name, "it is missing") from None
        if size != record["bytes"]:
            raise damage(name, f"it has {size} bytes, not {record['bytes']}")


def is_intact(path: Path) -> bool:
    """Whether a file is what was written.

    Parameters
    ----------
    path : Path
        A file of a sealed folder.

    Returns
    -------
    bool
        False if it is missing or differs from its checksum; True if its folder has no checksum of it.
    """
    if not path.is_file() or not is_sealed(path.parent):
        return path.is_file()
    try:
        check_folder(path.parent, lambda name: name == path.name)
    except DamageError:
        return False
    return True


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Wait until no other process changes the checksums of a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(folder: Path, records: Mapping[str, Any]) -> None:
    """Write checksums.json in one step."""
    draft = folder / f".{FILE}.{os.getpid()}"
    content = {MARK: SCHEMA, "files": dict(sorted(records.items()))}
    try:
        draft.write_text(json.dumps(signed(content), indent=1))
        os.replace(draft, folder / FILE)
    finally:
        draft.unlink(missing_ok=True)
