"""Bearer tokens of the HTTP service and their roles, from a YAML file.

A token is compared by its SHA-256 digest, in constant time, with all tokens of the file. The file holds the digests, or
the tokens themselves. Tokens are long and random, so that a slow hash would add nothing.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from propensity.errors import ConfigurationError

SCORE, EXPLAIN, ADMIN = "score", "explain", "admin"
ROLES = (SCORE, EXPLAIN, ADMIN)  # each may do what the ones before it may
SHORTEST = 16  # characters of a token
DIGEST = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
KEYS = {"name", "token", "sha256", "roles", "expires"}
LARGEST = 1 << 20  # bytes of the file
FORM = "list tokens with name, sha256 (or token) and roles"


class Caller(NamedTuple):
    """Who sends a request.

    Attributes
    ----------
    name : str
        Name of the token; it stands in the service's log.
    roles : frozenset of str
        What the caller may do, lower roles included.
    """

    name: str
    roles: frozenset[str]


ANYONE = Caller("anonymous", frozenset(ROLES))  # where authentication is off


class Token(NamedTuple):
    """One token.

    Attributes
    ----------
    digest : str
        SHA-256 in hexadecimal digits.
    caller : Caller
        Name and roles.
    expires : date or None
        First day on which the token is refused, in UTC.
    """

    digest: str
    caller: Caller
    expires: datetime.date | None = None


def read_tokens(path: str | Path) -> list[Token]:
    """Read a file of tokens.

    Parameters
    ----------
    path : str or Path
        YAML: `tokens:` with a list of `name`, `sha256` or `token`, `roles`, and optionally `expires`.

    Returns
    -------
    list of Token
        At least one.

    Raises
    ------
    ConfigurationError
        If the file is missing, is not such a list, or has a token that is too short, doubled or without a role. No
        message repeats a token.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_bytes()[: LARGEST + 1].decode()) if path.stat().st_size <= LARGEST else None
    except OSError as error:
        raise ConfigurationError(f"the file of tokens {path} cannot be read ({error.strerror}); {FORM}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError):
        raise ConfigurationError(f"the file of tokens {path} is no YAML; {FORM}") from None
    entries = content.get("tokens") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise ConfigurationError(f"the file of tokens {path} has no tokens; {FORM}")
    tokens = [_token(path, number, entry) for number, entry in enumerate(entries, 1)]
    if len({token.digest for token in tokens}) < len(tokens):
        raise ConfigurationError(f"the file of tokens {path} has one token twice; give each caller its own")
    return tokens


def _token(path: Path, number: int, entry: Any) -> Token:
    """A validated entry of the file."""

    def refuse(problem: str) -> ConfigurationError:
        return ConfigurationError(f"token {number} of {path} {problem}")

    if not isinstance(entry, dict) or not {*map(str, entry)} <= KEYS:
        raise refuse(f"has other fields than {', '.join(sorted(KEYS))}; correct it")
    name, roles = entry.get("name"), entry.get("roles")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise refuse("has no name of letters, digits, dots and dashes; give one, it stands in the log of the service")
    roles = [roles] if isinstance(roles, str) else roles
    if not isinstance(roles, list) or not roles or not all(role in ROLES for role in roles):
        raise refuse(f"({name}) has no roles out of {', '.join(ROLES)}; give at least one")
    expires = entry.get("expires")
    if isinstance(expires, datetime.datetime) or not isinstance(expires, datetime.date | None):
        raise refuse(f"({name}) expires on no date; write it as YYYY-MM-DD")
    highest = max(ROLES.index(role) for role in roles)
    return Token(_digest_of(entry, refuse), Caller(name, frozenset(ROLES[: highest + 1])), expires)


def _digest_of(entry: dict[str, Any], refuse: Any) -> str:
    """The digest of an entry that holds either a digest or a token."""
    digest, text = entry.get("sha256"), entry.get("token")
    if (digest is None) == (text is None):
        raise refuse("needs either sha256 or token")
    if digest is not None:
        if not isinstance(digest, str) or not DIGEST.fullmatch(digest.lower()):
            raise refuse("has a sha256 that is not 64 hexadecimal digits in quotes")
        return digest.lower()
    if not isinstance(text, str) or len(text) < SHORTEST or not text.isascii() or not text.isprintable() or " " in text:
        raise refuse(f"is not a text of {SHORTEST} or more ASCII characters; make one with openssl rand -hex 32")
    return digest_of(text)


def digest_of(token: str) -> str:
    """SHA-256 of a token, as it stands in the file.

    Examples
    --------
    >>> digest_of("0123456789abcdef")[:8]
    '9f9f5111'
    """
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def caller_of(header: str | None, tokens: Sequence[Token], today: datetime.date) -> Caller | None:
    """Who sent a request.

    Parameters
    ----------
    header : str or None
        Value of the header `Authorization`.
    tokens : sequence of Token
        Known tokens.
    today : date
        In UTC.

    Returns
    -------
    Caller or None
        None for a missing, malformed, unknown or expired token. All tokens are compared, each in constant time.
    """
    scheme, _, token = (header or "").strip().partition(" ")
    if scheme.lower() != "bearer":
        return None
    digest, caller = digest_of(token.strip()), None
    for each in tokens:
        matches = hmac.compare_digest(digest, each.digest)
        if matches and (each.expires is None or today < each.expires):
            caller = each.caller
    return caller
