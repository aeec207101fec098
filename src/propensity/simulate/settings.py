"""Settings of the synthetic market."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from propensity.errors import ConfigurationError

BLOCK = 1024  # customers simulated together; a smaller market simulates a whole block and keeps its first customers


@dataclass
class SimulationConfig:
    """Sizes and effect strengths of the simulated market.

    `propensity.ingest.source.synthetic.Synthetic` documents each parameter.

    Raises
    ------
    ConfigurationError
        If a value is outside its range.
    """

    customers: int = 2000
    items: int = 300
    categories: int = 30
    days: int = 420
    start: str = "2024-01-01"
    seed: int = 17
    dormant_share: float = 0.4
    new_share: float = 0.15
    new_item_share: float = 0.1
    order_effect: float = 0.0
    season_strength: float = 1.0
    messages: float = 0.15
    message_effect: float = 1.0
    returns: float = 0.02
    views: float = 1.0
    basket: float = 2.5
    registrants: int = 0

    def __post_init__(self) -> None:
        sizes = {"customers": 1, "categories": 1, "days": 2, "items": self.categories, "registrants": 0}
        strengths = {"order_effect": 0.0, "season_strength": 0.0, "message_effect": 0.0, "views": 0.0, "basket": 0.01}
        for name, minimum in (sizes | strengths).items():
            if not getattr(self, name) >= minimum:
                raise ConfigurationError(
                    f"data.source.{name}={getattr(self, name)} is too small; use {minimum} or more"
                )
        for name in ("dormant_share", "new_share", "new_item_share", "messages", "returns"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigurationError(
                    f"data.source.{name}={getattr(self, name)} is not a share; use a value from 0 to 1"
                )
        try:
            date.fromisoformat(self.start)
        except ValueError:
            raise ConfigurationError(
                f"data.source.start={self.start} is not a date; use one such as 2024-01-01"
            ) from None

    def epoch_day(self, t: int) -> int:
        """Convert a day of the simulation to days since 1970-01-01.

        Parameters
        ----------
        t : int
            Day of the simulation, counted from 0.

        Returns
        -------
        int
            Days since 1970-01-01.
        """
        return (date.fromisoformat(self.start) - date(1970, 1, 1)).days + t

    def stream(self, *purpose: int) -> np.random.Generator:
        """Create the random generator of one block and purpose.

        Parameters
        ----------
        *purpose : int
            Key of the stream, such as a block number and a purpose number.

        Returns
        -------
        numpy.random.Generator
            A stream that depends on `seed` and `purpose` only.
        """
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(self.seed, spawn_key=purpose)))
