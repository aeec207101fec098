"""The past of the customers that were scored: read from the event log, never beyond the send date."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from propensity.data.event_log import EventLog, to_day
from propensity.data.offer import OfferConfig, Offers, offers_before
from propensity.errors import DataError
from propensity.kernel.customer import customer_columns, customer_windows
from propensity.kernel.pair import pair_columns, pair_windows
from propensity.trust import DATA, check_targets

BLOCK = 4096  # customers whose pairs are held at a time
WINDOWS, HALF_LIVES = (28, 91, 182, 364), (30,)


@dataclass(frozen=True)
class PurchaseHistory:
    """An event log and the rule that cuts it into offers, as of a day; horizon in days."""

    log: EventLog
    rule: OfferConfig
    day: int
    horizon: int = 14

    def at(self, day: int) -> PurchaseHistory:
        """The same log as of another day."""
        return PurchaseHistory(self.log, self.rule, day, self.horizon)

    @cached_property
    def offers(self) -> Offers:
        return offers_before(self.log, self.rule, self.day)

    def rows(self, customer: np.ndarray) -> np.ndarray:
        """Rows of the log by id, -1 for a customer it does not know."""
        known = {str(c): n for n, c in enumerate(self.log.customer_id.tolist())}
        return np.array([known.get(str(c), -1) for c in customer.tolist()], dtype=np.int64)

    def pairs(self, row: np.ndarray, offer: tuple[str, ...], column: str) -> np.ndarray:
        """(n, M) float32: one column of `pair_columns` for customers and named offers, such as `recency` (NaN: never).

        An offer that is none by this log was never bought; so is everything for row -1.
        """
        names = pair_columns(WINDOWS, HALF_LIVES)
        place = {name: m for m, name in enumerate(self.offers.name)}
        kept = np.array(sorted(place[name] for name in offer if name in place), np.int64)
        target = np.array([offer.index(self.offers.name[m]) for m in kept], np.int64)
        sets, known = self.offers.take(kept).sets, np.flatnonzero(row >= 0)
        out = np.full((row.size, len(offer)), np.nan if column == "recency" else 0.0, np.float32)
        for start in range(0, known.size if kept.size else 0, BLOCK):
            block = known[start : start + BLOCK]
            grid = np.empty((block.size, kept.size, len(names)), np.float32)
            nothing = np.zeros(block.size, np.int64), np.full(block.size, -1)
            arguments = self.log.events, sets, row[block], self.day, *nothing
            pair_windows(*arguments, np.array(WINDOWS), np.array(HALF_LIVES), grid)
            out[np.ix_(block, target)] = grid[:, :, names.index(column)]
        return out

    def behaviour(self, row: np.ndarray) -> dict[str, np.ndarray]:
        """Columns of `customer_columns` for known customers (n,), as float32."""
        names = customer_columns(WINDOWS, HALF_LIVES)
        out = np.empty((row.size, len(names)), np.float32)
        arguments = self.log.events, self.offers.sets, len(self.offers), row, self.day, self.horizon
        customer_windows(*arguments, np.zeros(row.size, np.int64), np.array(WINDOWS), np.array(HALF_LIVES), out)
        return dict(zip(names, out.T, strict=True))


def purchase_history_of(
    config: Path, log: str | None, cutoff: str, say: Callable[[str], None]
) -> PurchaseHistory | None:
    """The past that the run's config.yaml describes; None, and a word on it, where there is none to be found."""
    if not config.is_file():
        say(f"no {config}: what was bought before is unknown")
        return None
    try:
        settings: Any = OmegaConf.to_container(OmegaConf.load(config), resolve=False)
        data = settings["data"]
    except (OmegaConfBaseException, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{config} is no configuration of a run ({type(error).__name__}); train again") from None
    check_targets(data, config, DATA)
    task = instantiate(data, _convert_="all")
    folder = log or task.log or task.default_log
    if log is None and not (Path(folder) / "meta.json").is_file():
        say(f"no event log at {folder}: what was bought before is unknown; give log=<folder>")
        return None
    return PurchaseHistory(EventLog.open(folder), task.offer, to_day(cutoff), task.horizon)
