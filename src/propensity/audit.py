"""The audit log: who trained, scored, exported and erased, one line each. Lines are only appended, and are chained.

Each line holds the SHA-256 of everything before it, and `audit.head` beside the log that of everything so far. A line
that is changed, removed, inserted or cut off is found by `verify`. Customers stand in it as keyed hashes only.
"""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import hmac
import json
import os
import socket
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from propensity.atomic import whole_file
from propensity.errors import ConfigurationError, IntegrityError

FILE, HEAD, KEY = "audit.jsonl", ".head", ".key"
VARIABLE = "PROPENSITY_AUDIT"  # path of the one audit log of all folders
KEY_BYTES = 32


class AuditState(NamedTuple):
    """Result of a verification."""

    lines: int
    unchained: int  # lines of an earlier version at the beginning, which the chain covers as a whole
    digest: str  # SHA-256 of the log; kept elsewhere, it proves that no line was changed since


def audit_log(folder: str | Path) -> Path:
    """Path of the audit log of a folder of runs; $PROPENSITY_AUDIT if it is set."""
    return Path(os.environ.get(VARIABLE) or Path(folder) / FILE)


def append(folder: str | Path, action: str, entry: Mapping[str, Any]) -> Path:
    """Append a line to the audit log of a folder.

    Parameters
    ----------
    folder : str or Path
        Folder of runs; see `audit_log`.
    action : str
        What was done: train, pretrain, score, states, decide, export, serve, score_http, export_customer, forget, lift,
        rotate_key.
    entry : mapping
        Plain values. Customers as `customer_mark`.

    Returns
    -------
    Path
        The audit log.

    Raises
    ------
    ConfigurationError
        If it cannot be written.
    """
    path = audit_log(folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise ConfigurationError(f"the audit log {path} cannot be written ({error.strerror}); correct out") from None
    with os.fdopen(stream, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = path.read_bytes()
        gap = b"\n" if before and not before.endswith(b"\n") else b""  # after a line that was cut off
        head = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "action": action, "who": operator()}
        line = head | dict(entry) | {"previous": hashlib.sha256(before + gap).hexdigest()}
        if not _continues(before, path.with_suffix(HEAD)):
            line["changed_before"] = True  # erasure must not wait, and nothing may cover the change up
        text = gap + json.dumps(line).encode() + b"\n"
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
        state = {"lines": (before + text).count(b"\n"), "digest": hashlib.sha256(before + text).hexdigest()}
        try:
            with whole_file(path.with_suffix(HEAD)) as draft:
                draft.write_text(json.dumps(state))
        except OSError as error:
            raise ConfigurationError(f"{path.with_suffix(HEAD)} cannot be written ({error.strerror})") from None
    return path


def _continues(before: bytes, head: Path) -> bool:
    """Whether a log is still what its head says, or has one line more, whose writer was killed before the head."""
    if not head.is_file():
        return b'"previous"' not in before
    try:
        digest = json.loads(head.read_text())["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    lines = before.splitlines(keepends=True)
    return digest in (hashlib.sha256(each).hexdigest() for each in (before, b"".join(lines[:-1])))


def append_beside(folder: str | Path, out: str | Path, action: str, entry: Mapping[str, Any]) -> Path:
    """Append a line beside what was used or, where that is read-only, beside what was written.

    Parameters
    ----------
    folder : str or Path
        Folder that holds the run or bundle.
    out : str or Path
        What was written; its path is part of the line.
    action, entry
        See `append`.

    Returns
    -------
    Path
        The audit log.
    """
    entry = dict(entry) | {"out": str(Path(out).resolve())}
    try:
        return append(folder, action, entry)
    except ConfigurationError:
        if os.environ.get(VARIABLE) or Path(folder).resolve() == Path(out).resolve().parent:
            raise
        return append(Path(out).resolve().parent, action, entry)


def operator() -> str:
    """User and machine that run this process."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):
        return f"{os.getuid()}@{socket.gethostname()}"


def customer_mark(customer: str, folder: str | Path, key: bytes | None) -> str:
    """Keyed hash of a customer id for the audit log.

    Parameters
    ----------
    customer : str
        Id as delivered.
    folder : str or Path
        Folder of the audit log.
    key : bytes, optional
        Pseudonym key; None for the key beside the audit log, which is made if it is missing. Whoever deletes that key
        makes the hashes of the log meaningless.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    key = key or _own_key(audit_log(folder).with_suffix(KEY))
    return hmac.new(key, f"audit:{customer}".encode(), hashlib.sha256).hexdigest()[:32]


def _own_key(path: Path) -> bytes:
    """The key in a file that only its owner reads; it is made if it is missing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(os.urandom(KEY_BYTES))
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigurationError(f"the key {path} cannot be written ({error.strerror}); correct runs") from None
    return path.read_bytes()


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """Lines of an audit log as dicts; lines that are no JSON object are passed over, `verify` reports them."""
    for line in path.read_bytes().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def verify(path: str | Path, digest: str | None = None) -> AuditState:
    """Verify the chain of an audit log.

    Parameters
    ----------
    path : str or Path
        The audit log.
    digest : str, optional
        Digest of an earlier verification, stored elsewhere.

    Returns
    -------
    AuditState
        Number of lines, and the digest now.

    Raises
    ------
    ConfigurationError
        If there is no audit log.
    IntegrityError
        If a line was changed, removed, inserted or cut off, with the number of the first line that shows it.
    """
    path, running, unchained, chained = Path(path), hashlib.sha256(), 0, False
    if not path.is_file():
        raise ConfigurationError(f"no audit log at {path}; give runs=<folder> or the file")
    digests = [running.hexdigest()]
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        previous = _previous(path, number, line)
        if previous is None and chained:
            raise IntegrityError(f"{path} line {number} is not chained to the lines before it; it was inserted")
        if previous is not None and previous != digests[-1]:
            raise IntegrityError(f"{path} was changed before line {number}; restore it from a copy")
        chained, unchained = previous is not None, unchained + (previous is None)
        running.update(line)
        digests.append(running.hexdigest())
    if chained:
        _check_head(path, digests)
    if digest is not None and digest not in digests[1:]:
        raise IntegrityError(f"{path} never had the digest {digest}; it was rewritten, restore it from a copy")
    return AuditState(len(digests) - 1, unchained, digests[-1])


def _previous(path: Path, number: int, line: bytes) -> str | None:
    """The hash that a line gives for all before it; None for a line of an earlier version."""
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict) or not line.endswith(b"\n"):
        raise IntegrityError(f"{path} line {number} is no entry; it was changed or cut off")
    if entry.get("changed_before"):
        raise IntegrityError(f"{path} had been changed when line {number} was written; restore it from a copy")
    return None if entry.get("previous") is None else str(entry["previous"])


def _check_head(path: Path, digests: list[str]) -> None:
    """IntegrityError unless the log still begins with what `audit.head` says; a line may have been added since."""
    head = path.with_suffix(HEAD)
    try:
        state = json.loads(head.read_text())
        lines, digest = int(state["lines"]), str(state["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        raise IntegrityError(f"{head} is missing or damaged; restore it with {path} from a copy") from None
    if not 0 < lines < len(digests):
        raise IntegrityError(f"{path} has {len(digests) - 1} lines, {head.name} says {lines}; it was cut off")
    if digests[lines] != digest:
        raise IntegrityError(f"{path} was changed at or before line {lines}; restore it from a copy")
