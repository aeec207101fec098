"""Checks of a log's columns: sizes, ranges, order and sums. A log that fails one is not used.

E events, N customers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from propensity.checksum import Damage
from propensity.data.column_store import CHUNK, release_pages
from propensity.data.log_column import KEYS, OPTIONAL
from propensity.errors import DataError
from propensity.kernel.event import EVERY_KIND, KINDS

AMOUNTS = ("quantity", "revenue", "discount")
LARGEST_TOTAL = 1e18  # of the magnitudes of a column: its square is finite in 32 bits, and every sum is
DAYS = (-719_162, 2_932_896)  # 0001-01-01 and 9999-12-31


def chunks(column: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Split a column, and release the pages of each part after it was read.

    Parameters
    ----------
    column : numpy.ndarray of shape (E,)
        Memory-mapped or not.

    Yields
    ------
    start : int
        Position of the part.
    part : numpy.ndarray
        At most `CHUNK` values.
    """
    for start in range(0, column.size, CHUNK):
        yield start, column[start : start + CHUNK]
        release_pages(column)


def check_columns(
    arrays: Mapping[str, np.ndarray], items: int, channels: int, days: tuple[int, int], damage: Damage
) -> None:
    """Check the columns of a log before any kernel reads them.

    Parameters
    ----------
    arrays : mapping of str to numpy.ndarray
        `offsets` (N + 1,), `item_known` and the event columns (E,).
    items, channels : int
        Number of items and of channels.
    days : tuple of int
        First and last day of a purchase.
    damage : callable
        Makes the error from the name of a file and what is wrong where.

    Raises
    ------
    DamageError
        If lengths differ, offsets descend, a code is out of range, days of a customer descend, or an amount is not
        finite.
    """
    events, offsets = arrays["day"].size, arrays["offsets"]
    if any(arrays[name].shape != (events,) for name in ("item", "kind", "channel", "order", *AMOUNTS)):
        raise damage("day.npy", "its columns differ in length")
    if arrays["item_known"].shape != (items,):
        raise damage("item_known.npy", f"it has {arrays['item_known'].size} of {items} items")
    if offsets.ndim != 1 or not offsets.size or offsets[0] != 0 or offsets[-1] != events:
        raise damage("offsets.npy", f"it does not lead from 0 to {events}")
    if (place := np.flatnonzero(offsets[1:] < offsets[:-1])).size:
        raise damage("offsets.npy", f"it descends at customer {place[0]}")
    if not DAYS[0] <= days[0] <= days[1] <= DAYS[1]:
        raise damage("meta.json", f"purchases from day {days[0]} to {days[1]}")
    limits = {"day": DAYS, "item": (-1, items - 1), "kind": (0, len(KINDS) - 1), "channel": (-1, channels - 1)}
    for name, (least, most) in (limits | {"order": (-1, events)}).items():
        _check_range(name, arrays[name], least, most, damage)
    _check_order(arrays["day"], offsets, damage)
    for name in AMOUNTS:
        _check_range(name, arrays[name], -LARGEST_TOTAL, LARGEST_TOTAL, damage)
    check_totals(arrays)


def check_engagement(
    arrays: Mapping[str, np.ndarray], items: int, channels: int, customers: int, damage: Damage
) -> None:
    """Check the columns of the events that are stored apart.

    Parameters
    ----------
    arrays : mapping of str to numpy.ndarray
        `offsets` (N + 1,) and the event columns (E,).
    items, channels, customers : int
        Number of items, channels and customers.
    damage : callable
        Makes the error from the name of a file and what is wrong where.

    Raises
    ------
    DamageError
        If lengths differ, offsets descend, a code is out of range, or days of a customer descend.
    """
    events, offsets = arrays["day"].size, arrays["offsets"]
    names = ("item", "kind", "channel", "order", *AMOUNTS)
    if any(name not in arrays or arrays[name].shape != (events,) for name in names):
        raise damage("engagement/day.npy", "its columns differ in length")
    if offsets.shape != (customers + 1,) or offsets[0] != 0 or offsets[-1] != events or (np.diff(offsets) < 0).any():
        raise damage("engagement/offsets.npy", f"it does not ascend from 0 to {events}")
    limits = {"day": DAYS, "item": (-1, items - 1), "channel": (-1, channels - 1)}
    for name, (least, most) in (limits | {"kind": (len(KINDS), len(EVERY_KIND) - 1)}).items():
        _check_range(f"engagement/{name}", arrays[name], least, most, damage)
    _check_order(arrays["day"], offsets, damage)


def check_optional(arrays: Mapping[str, np.ndarray], contacts: int, damage: Damage, folder: str = "") -> None:
    """Check the optional columns of events.

    Parameters
    ----------
    arrays : mapping of str to numpy.ndarray
        Columns (E,), of which those of `OPTIONAL` and `KEYS` may be missing.
    contacts : int
        Number of distinct contacts.
    damage : callable
        Makes the error from the name of a file and what is wrong where.
    folder : str
        Folder of the columns inside the log, with a slash.

    Raises
    ------
    DamageError
        If lengths differ, a contact does not exist, or a probability is not in (0, 1].
    """
    for name in (*OPTIONAL, *KEYS):
        if name in arrays and arrays[name].shape != arrays["day"].shape:
            raise damage(f"{folder}{name}.npy", "it differs in length")
    if "contact" in arrays:
        _check_range(f"{folder}contact", arrays["contact"], -1, contacts - 1, damage)
    for start, part in chunks(arrays["probability"]) if "probability" in arrays else ():
        if (wrong := np.flatnonzero((part <= 0) | (part > 1))).size:
            raise damage(f"{folder}probability.npy", f"event {start + wrong[0]} has {part[wrong[0]]}, not 0 to 1")


def _check_range(name: str, column: np.ndarray, least: float, most: float, damage: Damage) -> None:
    """Check that all values lie in [least, most]; NaN does not."""
    for start, part in chunks(column):
        if not (least <= part.min() and part.max() <= most):
            place = int(np.flatnonzero(~((part >= least) & (part <= most)))[0])
            raise damage(f"{name}.npy", f"event {start + place} has {part[place]}, not {least:g} to {most:g}")


def _check_order(day: np.ndarray, offsets: np.ndarray, damage: Damage) -> None:
    """Check that days of each customer ascend."""
    last = None
    for start, part in chunks(day):
        descends = np.flatnonzero(part[1:] < part[:-1]) + 1 + start
        if last is not None and part[0] < last:
            descends = np.append(start, descends)
        place = np.minimum(np.searchsorted(offsets, descends), offsets.size - 1)
        if (wrong := descends[offsets[place] != descends]).size:
            raise damage("day.npy", f"event {wrong[0]} is earlier than the one before it of the same customer")
        last = part[-1]


def largest_amounts(columns: Mapping[str, Any]) -> dict[str, float]:
    """Largest magnitude of each amount.

    Parameters
    ----------
    columns : mapping of str to numpy.ndarray
        `AMOUNTS` (E,).

    Returns
    -------
    dict of str to float
        By column; 0 without events.
    """
    return {
        name: max((float(max(-part.min(), part.max())) for _, part in chunks(columns[name])), default=0.0)
        for name in AMOUNTS
    }


def event_days(days: Iterable[np.ndarray]) -> list[int]:
    """First and last day of the events.

    Parameters
    ----------
    days : iterable of numpy.ndarray
        Columns of days, at least one of them with an event.

    Returns
    -------
    list of int
        Two days.
    """
    ends = [(int(part.min()), int(part.max())) for day in days for _, part in chunks(day)]
    return [min(first for first, _ in ends), max(last for _, last in ends)] if ends else []


def check_totals(columns: Mapping[str, Any]) -> None:
    """Check that amounts can be added up without overflow.

    Parameters
    ----------
    columns : mapping of str to numpy.ndarray
        `AMOUNTS` (E,).

    Raises
    ------
    DataError
        If the magnitudes of a column add up to more than `LARGEST_TOTAL`, or are not finite.
    """
    largest = largest_amounts(columns)
    for name in AMOUNTS:
        column = columns[name]
        if largest[name] * column.size <= LARGEST_TOTAL:
            continue
        total = sum(float(np.abs(part.astype(np.float64)).sum()) for _, part in chunks(column))
        if not total <= LARGEST_TOTAL:
            raise DataError(
                f"{name} adds up to {total:.3g}, more than {LARGEST_TOTAL:.0e}, so that sums overflow; correct its unit"
            )
