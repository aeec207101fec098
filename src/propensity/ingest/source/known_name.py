"""Names that are looked for among known ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from propensity.errors import ConfigurationError


def closest_name(name: str, names: Collection[str]) -> str:
    """Find the most similar name, ignoring case.

    Parameters
    ----------
    name : str
        Name that does not exist.
    names : collection of str
        Existing names.

    Returns
    -------
    str
        One of `names`, or "" if there are none.
    """
    lower = {candidate.lower(): candidate for candidate in names}
    close = get_close_matches(name.lower(), lower, n=1, cutoff=0.0)
    return lower[close[0]] if close else ""


def check_keys(values: Mapping[str, Any], keys: Collection[str], setting: str) -> None:
    """Check the keys of a setting.

    Parameters
    ----------
    values : mapping
        Value of the setting.
    keys : collection of str
        Valid keys.
    setting : str
        Name of the setting.

    Raises
    ------
    ConfigurationError
        If a key is not valid; the message contains the closest key.
    """
    for name in values:
        if name not in keys:
            raise ConfigurationError(f"{setting} has no key {name!r}; the closest key is {closest_name(name, keys)!r}")
