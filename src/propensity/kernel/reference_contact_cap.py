"""Definition of the best set of slots, in plain Python: all sets, and the caps one window at a time."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from propensity.kernel.contact_cap import EDGE, WEEK, Calendar


def keeps_caps(calendar: Calendar, used: np.ndarray, slots: tuple[int, ...]) -> bool:
    """Whether a customer with promised contacts `used` (EDGE+D+EDGE,) may have these slots."""
    day_of = np.repeat(np.arange(calendar.start.size - 1), np.diff(calendar.start))
    planned = np.bincount(EDGE + day_of[list(slots)], minlength=used.size) if slots else np.zeros(used.size, int)
    both = planned + used
    if ((both > calendar.day_cap) & (planned > 0)).any():
        return False
    if calendar.clash.size and any(calendar.clash[a, b] for a, b in combinations(slots, 2)):
        return False
    if calendar.rolling:
        windows = [slice(e, e + WEEK) for e in range(used.size - EDGE)]
    else:
        windows = [calendar.week == week for week in np.unique(calendar.week)]
    return all(not planned[w].any() or both[w].sum() <= calendar.week_cap for w in windows)


def choose_reference(calendar: Calendar, used: np.ndarray, value: np.ndarray) -> tuple[float, tuple[int, ...]]:
    """The set of slots of the highest total value (S,), and that value."""
    slots = range(value.size)
    sets = [s for k in range(value.size + 1) for s in combinations(slots, k) if keeps_caps(calendar, used, s)]
    best = max(sets, key=lambda chosen: value[list(chosen)].sum() if chosen else 0.0)
    return float(value[list(best)].sum()) if best else 0.0, best
