"""Keys of a log whose key was rotated: an id is hashed under every key in turn, the oldest first.

A rotation hashes the stored pseudonyms once more, under the new key, because the delivered ids are not there. Later
deliveries need the former keys too. The log stores them encrypted under its present key, so that this key alone is
needed, and the files of the former ones can be deleted.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from propensity.data.log_folder import META, read_meta
from propensity.errors import DataError, IntegrityError
from propensity.ingest.privacy import key_fingerprint, pseudonym

FORMER = "former_keys"  # in the metadata of a log, the oldest first
TAG = 16  # bytes


def key_chain(meta: Mapping[str, Any], key: bytes | None) -> tuple[bytes, ...]:
    """List the keys under which the ids of a log are hashed.

    Parameters
    ----------
    meta : mapping
        Metadata of the log; empty for a log that does not exist yet.
    key : bytes, optional
        Present key of the log. A log that is replaced under another key starts a new chain.

    Returns
    -------
    tuple of bytes
        The former keys, the oldest first, and the present one; empty without a key.

    Raises
    ------
    IntegrityError
        If a former key cannot be decrypted.
    """
    if key is None:
        return ()
    former = meta.get(FORMER, []) if meta.get("key") == key_fingerprint(key) else []
    return (*(decrypted(str(text), key) for text in former), key)


def stored_meta(folder: str | Path) -> Mapping[str, Any]:
    """Read the metadata of a log that may be replaced.

    Parameters
    ----------
    folder : str or Path
        Folder of the log.

    Returns
    -------
    mapping
        Empty if there is no log, or none that can be read.
    """
    try:
        return read_meta(Path(folder)) if (Path(folder) / META).is_file() else {}
    except (DataError, IntegrityError):
        return {}


def chained_pseudonym(identity: object, keys: Sequence[bytes]) -> str:
    """Hash a customer id under every key in turn.

    Parameters
    ----------
    identity : object
        Customer id as delivered.
    keys : sequence of bytes
        The oldest key first.

    Returns
    -------
    str
        The id that the log stores; the id itself without keys.

    Examples
    --------
    >>> old, new = b"o" * 16, b"n" * 16
    >>> chained_pseudonym(7, [old, new]) == pseudonym(pseudonym(7, old), new)
    True
    """
    name = str(identity)
    for key in keys:
        name = pseudonym(name, key)
    return name


def encrypted(secret: bytes, key: bytes) -> str:
    """Encrypt a former key.

    Parameters
    ----------
    secret : bytes
        Former key.
    key : bytes
        Present key.

    Returns
    -------
    str
        Tag and ciphertext in hexadecimal digits; the same arguments give the same text.

    Notes
    -----
    Synthetic initialisation vector (Rogaway & Shrimpton, EUROCRYPT 2006): the tag, an HMAC-SHA256 of the secret, starts
    the key stream, HMAC-SHA256 in counter mode. Tag and stream have separate keys.
    """
    tag = _tag(secret, key)
    return (tag + _under_stream(secret, tag, key)).hex()


def decrypted(text: str, key: bytes) -> bytes:
    """Decrypt a former key.

    Parameters
    ----------
    text : str
        See `encrypted`.
    key : bytes
        Present key.

    Returns
    -------
    bytes
        The former key.

    Raises
    ------
    IntegrityError
        If the text was changed, or encrypted under another key.

    Examples
    --------
    >>> decrypted(encrypted(b"o" * 20, b"n" * 16), b"n" * 16)
    b'oooooooooooooooooooo'
    """
    try:
        content = bytes.fromhex(text)
    except ValueError:
        content = b""
    tag, secret = content[:TAG], _under_stream(content[TAG:], content[:TAG], key)
    if not hmac.compare_digest(tag, _tag(secret, key)):
        raise IntegrityError("a former key in the log's meta.json is damaged; restore the log from a copy")
    return secret


def _derived(key: bytes, purpose: bytes) -> bytes:
    """A key of its own for one purpose."""
    return hmac.new(key, b"former pseudonym keys: " + purpose, hashlib.sha256).digest()


def _tag(secret: bytes, key: bytes) -> bytes:
    return hmac.new(_derived(key, b"tag"), secret, hashlib.sha256).digest()[:TAG]


def _under_stream(text: bytes, tag: bytes, key: bytes) -> bytes:
    """Text XOR key stream."""
    own = _derived(key, b"stream")
    blocks = range(-(-len(text) // hashlib.sha256().digest_size))
    stream = b"".join(hmac.new(own, tag + block.to_bytes(4, "big"), hashlib.sha256).digest() for block in blocks)
    return bytes(a ^ b for a, b in zip(text, stream, strict=False))
