"""The knobs of the made-up market."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from propensity.errors import ConfigurationError

BLOCK = 1024  # customers simulated together; a smaller world simulates a whole block and keeps its first customers


@dataclass
class Settings:
    """Sizes and strengths of the process; `propensity.ingest.source.synthetic.Synthetic` says what each one means.

    Raises: ConfigurationError for values that make no world.
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

    def __post_init__(self) -> None:
        least = {"customers": 1, "categories": 1, "days": 2, "items": self.categories}
        floor = {"order_effect": 0.0, "season_strength": 0.0, "message_effect": 0.0, "views": 0.0, "basket": 0.01}
        for name, low in (least | floor).items():
            if not getattr(self, name) >= low:
                raise ConfigurationError(f"data.source.{name}={getattr(self, name)} makes no world; give {low} or more")
        for name in ("dormant_share", "new_share", "new_item_share", "messages", "returns"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigurationError(f"data.source.{name}={getattr(self, name)} is no share; give 0 to 1")
        try:
            date.fromisoformat(self.start)
        except ValueError:
            raise ConfigurationError(f"data.source.start={self.start} is no date; give one like 2024-01-01") from None

    def epoch_day(self, t: int) -> int:
        """Days since 1970-01-01 of the world's day `t`, the first being 0."""
        return (date.fromisoformat(self.start) - date(1970, 1, 1)).days + t

    def stream(self, *purpose: int) -> np.random.Generator:
        """A random stream of its own for each block and purpose, the same in every world with this seed."""
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(self.seed, spawn_key=purpose)))
