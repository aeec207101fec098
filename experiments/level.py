"""How much of the level of a fortnight can be forecast from the fortnights that have closed? Totals only, no model.

    python experiments/level.py data/complete_journey product_category 2017-10-16

Counts the pairs of customer and offer with a purchase in the 14 days from each weekly cutoff on, and forecasts the log
of each count by rules that see only windows which had closed by its cutoff. Label windows close by the given end.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import polars as pl

from propensity.data.event_log import EventLog, to_day
from propensity.feature.calendar import SEASON, season
from propensity.kernel.event import PURCHASE

HORIZON, STEP, FIRST = 14, 7, 56  # days; the first cutoff after the begin of the log
WARM = 16  # weekly windows before the first forecast
RIDGE = 0.5  # on the two terms of the month, in windows
RULES = (  # windows averaged, whether with terms of the month, share of the last closed window's error
    (None, False, 0.0),
    (None, False, 0.25),
    (None, False, 0.5),
    (8, False, 0.0),
    (4, False, 0.0),
    (None, True, 0.0),
    (None, True, 0.25),
    (None, True, 0.5),
)


def log_totals(log: EventLog, column: str, end: str) -> tuple[np.ndarray, np.ndarray]:
    """Weekly cutoffs, and the log of the number of pairs with a purchase in the horizon from each of them."""
    events = np.flatnonzero(log.kind == PURCHASE)
    offer = log.items[column].rank("dense").fill_null(0).cast(pl.Int64).to_numpy()[log.item[events]]
    pair, day = log.owner(events) * (offer.max() + 1) + offer, log.day[events]
    last = to_day(end) - HORIZON
    cutoffs = np.arange(last - (last - log.first_day - FIRST) // STEP * STEP, last + 1, STEP)
    windows = ((day >= cutoff) & (day < cutoff + HORIZON) for cutoff in cutoffs)
    return cutoffs, np.log([np.unique(pair[window]).size for window in windows])


def errors(
    cutoffs: np.ndarray, level: np.ndarray, windows: int | None, month: bool, share: float, warm: int = WARM
) -> np.ndarray:
    """Log of observed over forecast at the cutoffs after the first `warm`, by one of the rules."""
    terms = np.array([season(int(cutoff), HORIZON) for cutoff in cutoffs])
    terms = terms[:, [name.endswith("month") for name in SEASON]] * month
    result = []
    for place in range(warm, cutoffs.size):
        closed = np.flatnonzero(cutoffs + HORIZON <= cutoffs[place])[-(windows or 0) :]
        x = np.column_stack([np.ones(closed.size), terms[closed]])
        weight = np.linalg.solve(x.T @ x + np.diag([0, RIDGE, RIDGE]), x.T @ level[closed])
        rest = level[closed] - x @ weight
        result.append(level[place] - weight[0] - terms[place] @ weight[1:] - share * rest[-1])
    return np.array(result)


def main(words: Sequence[str]) -> None:
    """Prints a table of the rules."""
    folder, column, end = words
    cutoffs, level = log_totals(EventLog.open(folder), column, end)
    print("| forecast of the log total | mean absolute error | root mean square | mean |\n|---|---:|---:|---:|")
    for windows, month, share in RULES:
        name = f"mean of {f'the last {windows}' if windows else 'all'} closed windows"
        name += " and terms of the month" * month + f", and {share:g} of the last window's error" * (share > 0)
        error = errors(cutoffs, level, windows, month, share)
        print(f"| {name} | {np.abs(error).mean():.4f} | {np.sqrt((error**2).mean()):.4f} | {error.mean():+.4f} |")


if __name__ == "__main__":
    main(sys.argv[1:])
