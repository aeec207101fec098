"""What to do with scores: each module is one question, a dataclass that takes `Evidence` and gives an `Answer`."""

from __future__ import annotations

from typing import Protocol

from propensity.decision.context import DecisionContext
from propensity.decision.result import DecisionResult


class Decision(Protocol):
    """ConfigurationError for a request that cannot be, InfeasibleError for one that the data cannot meet."""

    def __call__(self, context: DecisionContext) -> DecisionResult: ...
