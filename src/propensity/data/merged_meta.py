"""Metadata of two logs of consecutive periods as those of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any


def merged_meta(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the metadata of two logs.

    Parameters
    ----------
    old, new : mapping
        Metadata of the logs; events of `new` are later.

    Returns
    -------
    dict
        Those of `old`, with the sums of both accounts of rows and money, and with the fingerprint of `old` among the
        former ones. There is no new fingerprint.
    """
    one, other = old["rows"], new["rows"]
    rows: dict[str, Any] = {name: one[name] + other[name] for name in ("in", "used")}
    rows |= {name: _add_counts(one, other, name) for name in ("merged", "quarantined", "dropped")}
    merged: dict[str, Any] = {
        "rows": rows,
        "warnings": _add_counts(old, new, "warnings"),
        "channels": sorted({*old["channels"], *new["channels"]}),
        "first_day": min(int(old["first_day"]), int(new["first_day"])),
        "last_day": max(int(old["last_day"]), int(new["last_day"])),
    }
    former = [str(old["fingerprint"])] if "fingerprint" in old else []
    merged["formerly"] = [*old.get("formerly", []), *former]
    for name in ("money", "not_products"):
        one, other = old.get(name, {}), new.get(name, {})
        merged[name] = {key: round(one.get(key, 0) + other.get(key, 0), 2) for key in {**one, **other}}
    if zone := old.get("timezone") or new.get("timezone"):
        merged["timezone"] = zone
    for name in ("large_lines", "formats"):
        merged[name] = [*old.get(name, []), *new.get(name, [])]
    return {name: value for name, value in old.items() if name != "fingerprint"} | merged


def with_former(meta: Mapping[str, Any], known: Sequence[str | None]) -> dict[str, Any]:
    """Add the fingerprints that a log had after earlier segments to those that it had formerly.

    Parameters
    ----------
    meta : mapping
        Metadata of the log with all segments.
    known : sequence of str or None
        Fingerprint after each segment, None where it is not known; the last one is that of the log.

    Returns
    -------
    dict
        The metadata.
    """
    return {**meta, "formerly": [*meta["formerly"], *(each for each in known[:-1] if each is not None)]}


def _add_counts(one: Mapping[str, Any], other: Mapping[str, Any], name: str) -> dict[str, int]:
    """Sum of two counts by code, sorted by code."""
    return dict(sorted((Counter(one.get(name, {})) + Counter(other.get(name, {}))).items()))
