"""Delivered files: which of them a night takes, and the ledger of those that are in the log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from glob import glob
from pathlib import Path
from typing import Any

from propensity.errors import ConfigurationError
from propensity.ingest.source.file_search import digest
from propensity.nightly.shop import DATE, Deliveries
from propensity.nightly.signed_file import read_signed, write_signed

LEDGER, PENDING = "deliveries.json", "pending.json"
APPENDED, DUPLICATE, EMPTY = "appended", "duplicate", "empty"


@dataclass(frozen=True)
class Delivered:
    """A file that was delivered.

    Attributes
    ----------
    file : str
        Path.
    sha256 : str
        Of its bytes.
    day : str or None
        Date in its name, YYYY-MM-DD.
    """

    file: str
    sha256: str
    day: str | None


@dataclass(frozen=True)
class LedgerEntry:
    """A delivery that needs no further attention.

    Attributes
    ----------
    file, sha256, day
        See `Delivered`.
    night : str
        Night that settled it, YYYY-MM-DD.
    state : {"appended", "duplicate", "empty"}
        What became of it.
    first_day, last_day : str or None
        Of its events, YYYY-MM-DD.
    rows : dict
        Raw rows by what became of them.
    log : str or None
        Fingerprint of the log with its events.
    """

    file: str
    sha256: str
    day: str | None
    night: str
    state: str
    first_day: str | None = None
    last_day: str | None = None
    rows: dict[str, Any] = field(default_factory=dict)
    log: str | None = None


class Ledger:
    """The deliveries that earlier steps settled.

    Parameters
    ----------
    file : Path
        JSON file; it may be missing.

    Raises
    ------
    IntegrityError
        If it was changed by another program.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.entries: list[LedgerEntry] = []
        if file.is_file():
            content = read_signed(file, "restore it from a copy: it says which deliveries are in the log")
            self.entries = [LedgerEntry(**each) for each in content["deliveries"]]

    def add(self, entry: LedgerEntry) -> None:
        """Add a delivery, and write the file."""
        self.entries.append(entry)
        write_signed(self.file, {"deliveries": [asdict(each) for each in self.entries]})

    def settled(self, sha256: str, *states: str) -> LedgerEntry | None:
        """The first entry of a content, in one of some states."""
        return next((each for each in self.entries if each.sha256 == sha256 and each.state in states), None)

    def by_file(self, file: str, sha256: str) -> LedgerEntry | None:
        """The entry of a file with this content."""
        return next((each for each in self.entries if (each.file, each.sha256) == (file, sha256)), None)


def delivered(settings: Deliveries, folder: Path) -> list[Delivered]:
    """The files of a pattern.

    Parameters
    ----------
    settings : Deliveries
        Pattern and format of the date.
    folder : Path
        Where relative paths start.

    Returns
    -------
    list of Delivered
        By date in the name, then by name; `day` is None where the pattern has no date, or the date cannot be read.

    Raises
    ------
    ConfigurationError
        If the folder of the pattern is not there.
    """
    pattern = str(folder / settings.files)
    wild = pattern.replace(DATE, "*")
    plain = re.split(r"[*?\[]", wild)[0]
    top = Path(plain) if plain.endswith("/") else Path(plain).parent
    if not top.is_dir():
        raise ConfigurationError(f"deliveries.files={settings.files}: there is no folder {top}; correct the path")
    days = [(day_in_name(name, pattern, settings.date_format), name) for name in sorted(glob(wild, recursive=True))]
    files = [Delivered(shown(name, folder), digest(Path(name)), day) for day, name in days if Path(name).is_file()]
    return sorted(files, key=lambda each: (each.day or "", each.file))


def shown(name: str, folder: Path) -> str:
    """A path as it is written down: from `folder` where it lies in it."""
    path = Path(name)
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def day_in_name(name: str, pattern: str, date_format: str) -> str | None:
    """The date in a name.

    Examples
    --------
    >>> day_in_name("in/sales-05.03.2024.csv", "in/sales-{date}.csv", "%d.%m.%Y")
    '2024-03-05'
    >>> day_in_name("in/sales-new.csv", "in/sales-{date}.csv", "%Y-%m-%d") is None
    True
    >>> day_in_name("in/sales-2024-03-05-till-2.csv", "in/sales-{date}*.csv", "%Y-%m-%d")
    '2024-03-05'
    """
    parts = [re.escape(part).replace(r"\*", ".*").replace(r"\?", ".") for part in pattern.split(DATE)]
    if len(parts) == 1:
        return None
    match = re.fullmatch(f"({date_pattern(date_format)})".join(parts), name)
    try:
        return datetime.strptime(match[1], date_format).date().isoformat() if match else None
    except ValueError:
        return None


def date_pattern(date_format: str) -> str:
    """A regular expression of dates in a format of strptime, as long as possible.

    Examples
    --------
    >>> date_pattern("%d.%m.%Y")
    '\\\\d{1,2}\\\\.\\\\d{1,2}\\\\.\\\\d{4}'
    """
    width = {"Y": r"\d{4}", "m": r"\d{1,2}", "d": r"\d{1,2}", "y": r"\d{2}", "j": r"\d{1,3}"}
    return re.sub("%(.)", lambda code: width.get(code[1], ".+?"), re.sub(r"([^%\w])", r"\\\1", date_format))


def chosen(files: Iterable[Delivered], ledger: Ledger, night: str, dated: bool) -> dict[str, list[dict[str, Any]]]:
    """What a night does with each file; the same when it is asked again, after some were appended.

    Parameters
    ----------
    files : iterable of Delivered
        Files that lie there.
    ledger : Ledger
        Deliveries that are settled.
    night : str
        Date of the night, YYYY-MM-DD.
    dated : bool
        Whether their names have a date.

    Returns
    -------
    dict of str to list
        `new`, to be checked and appended; `duplicates`, with the file whose content they repeat; `waiting`, whose names
        have a date after the night; `undated`, whose names have none. Files that an earlier night settled are in none.
    """
    result: dict[str, list[dict[str, Any]]] = {"new": [], "duplicates": [], "waiting": [], "undated": []}
    first: dict[str, str] = {}  # content -> file
    for each in files:
        settled = ledger.by_file(each.file, each.sha256)
        if settled is not None and settled.night != night:
            continue
        earlier = ledger.settled(each.sha256, APPENDED)
        if earlier is not None and (earlier.file, earlier.sha256) != (each.file, each.sha256):
            result["duplicates"].append({**asdict(each), "of": earlier.file, "night": earlier.night})
        elif each.sha256 in first:
            result["duplicates"].append({**asdict(each), "of": first[each.sha256], "night": night})
        elif dated and each.day is None:
            result["undated"].append(asdict(each))
        elif each.day is not None and date.fromisoformat(each.day) > date.fromisoformat(night):
            result["waiting"].append(asdict(each))
        else:
            first[each.sha256] = each.file
            result["new"].append(asdict(each))
    return result


def in_order(checked: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Deliveries in the order of their events."""
    return sorted(checked, key=lambda each: (each["first_day"] or "", each["last_day"] or "", each["file"]))
