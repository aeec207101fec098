"""A log in shards: each a log of some customers, read together as the log of all.

The folder holds `meta.json` with the metadata of the whole, which is the manifest of the shards, and one folder for
each shard, which is a log without segments. The shard of a customer is a hash of the id, and all shards have the same
items, channels and contacts, so that no code is translated. N customers, E events.
"""

from __future__ import annotations

import tempfile
import weakref
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import polars as pl

from propensity.checksum import file_records, signed
from propensity.data import gathered_columns
from propensity.data.column_store import CHUNK, release_pages
from propensity.data.gathered_columns import GatheredColumns
from propensity.data.log_column import COLUMNS, CONTACTS, KEYS, OPTIONAL
from propensity.data.log_folder import META, SEGMENT_LIST, SHARDED, log_damage, read_meta
from propensity.data.log_reader import StoredLog, read_base
from propensity.kernel.event import fixed
from propensity.kernel.ragged import offsets_of
from propensity.kernel.sort import scatter_events

MOST = 4_096  # shards of a log
NAME = "shard-{:05d}"
OF_SHARD = ("columns", "files", "fingerprint", "event_days", "largest", "checksum", "shard")  # metadata of its own


class ShardEntry(NamedTuple):
    """What the manifest says of a shard.

    Attributes
    ----------
    name : str
        Its folder.
    fingerprint : str
        Of its content.
    checksum : str
        Of its `meta.json`, which has the checksums of its files.
    """

    name: str
    fingerprint: str
    checksum: str


class ShardedLog(NamedTuple):
    """The parts of the log of all shards, see `propensity.data.event_log.EventLog`."""

    frames: dict[str, Any]
    item_known: np.ndarray
    meta: dict[str, Any]
    columns: ShardColumns
    engagement: ShardColumns | None


def shard_of(customer: pl.Series, shards: int) -> np.ndarray:
    """Find the shard of customers.

    Parameters
    ----------
    customer : polars.Series
        (N,) ids.
    shards : int
        Number of shards.

    Returns
    -------
    numpy.ndarray of shape (N,), int32
        CRC-32 of the id as text in UTF-8, modulo `shards`. It does not depend on the machine, or on a version.

    Examples
    --------
    >>> shard_of(pl.Series(["a", "b", "c"]), 4), shard_of(pl.Series([7]), 4) == shard_of(pl.Series(["7"]), 4)
    (array([3, 1, 3], dtype=int32), array([ True]))
    """
    texts = customer.cast(pl.String).fill_null("")
    return np.fromiter((zlib.crc32(each.encode()) % shards for each in texts), np.int32, len(texts))


def is_sharded(folder: Path) -> bool:
    """Whether the log in a folder is in shards.

    Parameters
    ----------
    folder : Path
        Folder of a log.

    Returns
    -------
    bool
        False for any other log.

    Raises
    ------
    DamageError
        If there are folders of shards that its `meta.json` does not name, or columns of another log beside them.
    """
    present = sorted(path.name for path in folder.glob("shard-*") if path.is_dir())
    entries = read_meta(folder).get("shards") if present or not (folder / "offsets.npy").is_file() else None
    if entries is None:
        if present:
            raise log_damage(folder)(present[0], "two logs lie in one folder, and meta.json is of one without shards")
        return False
    if (folder / "offsets.npy").is_file() or (folder / SEGMENT_LIST).is_file():
        raise log_damage(folder)("offsets.npy", "two logs lie in one folder, and meta.json is of one with shards")
    if more := set(present) - {each["name"] for each in entries}:
        raise log_damage(folder)(min(more), f"two logs lie in one folder, and meta.json names {len(entries)} shards")
    return True


def read_shards(folder: Path, verify: bool) -> ShardedLog:
    """Read a log in shards as one, equal to the log of all customers.

    Parameters
    ----------
    folder : Path
        Folder of the log.
    verify : bool
        Whether to compare all files with their checksums first, and the shard of each customer with its hash.

    Returns
    -------
    ShardedLog
        The log. Customers are sorted by id; their events are gathered from the shards when they are read.

    Raises
    ------
    DamageError
        If a shard is missing, damaged, or of another log.
    """
    meta = read_meta(folder)
    entries = [
        ShardEntry(NAME.format(k), each["fingerprint"], each["checksum"]) for k, each in enumerate(meta["shards"])
    ]
    shards = [_read_shard(folder, entry, verify) for entry in entries]
    ids = pl.concat([shard.frames["customers"]["customer"] for shard in shards])
    owner = np.repeat(np.arange(len(shards), dtype=np.int32), [each.frames["customers"].height for each in shards])
    if verify and (wrong := np.flatnonzero(shard_of(ids, len(shards)) != owner)).size:
        raise log_damage(folder)(entries[owner[wrong[0]]].name, "it holds customers of another shard")
    order = ids.arg_sort().to_numpy()
    customers = pl.concat([shard.frames["customers"] for shard in shards], rechunk=True)[order]
    first = shards[0]
    frames = {**first.frames, "customers": customers}
    columns = ShardColumns([shard.arrays for shard in shards], owner[order], folder, meta["fingerprint"])
    apart = [shard.engagement for shard in shards]
    engagement = ShardColumns(apart, owner[order], folder, meta["fingerprint"]) if first.engagement else None
    return ShardedLog(frames, np.array(first.arrays["item_known"]), meta, columns, engagement)


def _read_shard(folder: Path, entry: ShardEntry, verify: bool) -> StoredLog:
    """Read a shard and compare it with the manifest."""
    damage, place = log_damage(folder), folder / entry.name
    if not (place / META).is_file():
        raise damage(entry.name, "the shard is missing")
    shard = read_base(place, verify)
    if shard.meta.get("fingerprint") != entry.fingerprint or shard.meta.get("checksum") != entry.checksum:
        raise damage(entry.name, f"it is the shard of another log, {shard.meta.get('fingerprint')}")
    if (place / SEGMENT_LIST).is_file():
        raise damage(entry.name, "it was appended to on its own; append to the log of all shards")
    return shard


class ShardColumns(GatheredColumns):
    """The events of all shards as one log.

    Parameters
    ----------
    shards : sequence of mapping of str to numpy.ndarray
        `offsets` and the memory-mapped columns of each.
    owner : numpy.ndarray of shape (N,), int32
        Shard of each customer; those of a shard keep their order.
    folder : Path
        Folder of the log.
    fingerprint : str
        Of the log.
    """

    def __init__(
        self, shards: Sequence[Mapping[str, np.ndarray]], owner: np.ndarray, folder: Path, fingerprint: str
    ) -> None:
        self.shards, self.owner, self._folder, self._fingerprint = shards, owner, folder, fingerprint
        self.row = np.empty(owner.size, np.int64)  # of each customer within the shard
        count = np.empty(owner.size, np.int64)
        for number, shard in enumerate(shards):
            mine = np.flatnonzero(owner == number)
            self.row[mine], count[mine] = np.arange(mine.size), np.diff(shard["offsets"])
        self.offsets = offsets_of(count)
        self.types = {name: kind for name, kind in {**COLUMNS, **OPTIONAL, **KEYS}.items() if name in shards[0]}
        self.needed: list[tuple[int, int]] | None = None  # customers whose events are read; None reads all
        self.files: dict[str, IO[bytes]] = {}  # columns of which only these events are read

    @property
    def folder(self) -> Path:
        """Folder of the log."""
        return self._folder

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the log, the same as without shards."""
        return self._fingerprint

    def read_by_need(self) -> None:
        """From now on a column holds only the events of customers that `need` names, and zeros in place of others."""
        self.needed = []

    def need(self, first: int, stop: int) -> None:
        """Read the events of the customers in [first, stop) into the columns; see `read_by_need`.

        Parameters
        ----------
        first, stop : int
            Customers.
        """
        if self.needed is not None and (first, stop) not in self.needed:
            self.needed.append((first, stop))
            for name, file in self.files.items():
                self._fill(name, file, first, stop)

    def column(self, name: str) -> np.ndarray:
        """Gather a column; of one of `read_by_need` what is needed, now or later.

        Parameters
        ----------
        name : str
            One of `types`.

        Returns
        -------
        numpy.ndarray of shape (E,)
            In memory, or memory-mapped from a file that ends with the process where the column is long.
        """
        size, dtype = int(self.offsets[-1]), np.dtype(self.types[name])
        if self.needed is None or size <= gathered_columns.IN_MEMORY:
            return super().column(name)
        file = self.files[name] = tempfile.TemporaryFile()  # noqa: SIM115  # stays open; holes take no space
        weakref.finalize(self, file.close)
        file.truncate(size * dtype.itemsize)
        for first, stop in self.needed:
            self._fill(name, file, first, stop)
        return np.memmap(file, dtype, mode="r", shape=(size,))

    def _fill(self, name: str, file: IO[bytes], first: int, stop: int) -> None:
        """Write the values of the customers in [first, stop) to their place in a file."""
        values = np.empty(int(self.offsets[stop] - self.offsets[first]), self.types[name])
        self.gather(name, first, stop, values)
        file.seek(int(self.offsets[first]) * values.itemsize)
        file.write(values.data)
        file.flush()  # a write to a full disk is an error, a write to mapped memory would end the process

    def blocks(self, name: str, out: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Gather a column some customers at a time; see `GatheredColumns`.

        Parameters
        ----------
        name : str
            One of `types`.
        out : numpy.ndarray of shape (E,), optional
            Memory to write the column to.

        Yields
        ------
        numpy.ndarray
            The next values.
        """
        edges = np.searchsorted(self.offsets, np.arange(0, self.offsets[-1], CHUNK))
        for first, stop in pairwise(np.unique(np.append(edges, self.owner.size)).tolist()):
            own = slice(self.offsets[first], self.offsets[stop])
            block = np.empty(own.stop - own.start, self.types[name]) if out is None else out[own]
            self.gather(name, first, stop, block)
            yield block

    def gather(self, name: str, first: int, stop: int, out: np.ndarray) -> None:
        """Copy the values of the customers in [first, stop) from each shard.

        Parameters
        ----------
        name : str
            One of `types`.
        first, stop : int
            Customers.
        out : numpy.ndarray
            Filled with the values of their events.
        """
        start = self.offsets[first : stop + 1] - self.offsets[first]
        for number, shard in enumerate(self.shards):
            mine = np.flatnonzero(self.owner[first:stop] == number)
            if not mine.size:
                continue
            rows = self.row[first + mine[0]], self.row[first + mine[-1]] + 1
            values = shard[name][shard["offsets"][rows[0]] : shard["offsets"][rows[1]]]
            scatter_events(fixed(values), np.diff(start)[mine], start[mine], out)
            release_pages(shard[name])


def manifest(folder: Path, names: Sequence[str], whole: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a log in shards.

    Parameters
    ----------
    folder : Path
        Folder of the log.
    names : sequence of str
        Folders of the shards inside it.
    whole : mapping
        Metadata of the log without shards.

    Returns
    -------
    dict
        Signed content of `meta.json`.
    """
    metas = [read_meta(folder / name) for name in names]
    pairs = list(zip(names, metas, strict=True))
    entries = [ShardEntry(name, meta["fingerprint"], meta["checksum"])._asdict() for name, meta in pairs]
    files = {name: record for name, record in whole["files"].items() if is_shared(name)}
    files |= {f"{name}/{file}": record for name, meta in pairs for file, record in meta["files"].items()}
    files |= file_records(folder, [f"{name}/{META}" for name in names])
    return signed({**whole, "format": SHARDED, "shards": entries, "files": files})


def is_shared(name: str) -> bool:
    """Whether a file of a log belongs to all shards: not its columns and tables."""
    stem = name.removeprefix("engagement/")
    return not stem.endswith(".npy") and name not in (f"{each}.parquet" for each in ("customers", "items", CONTACTS))
