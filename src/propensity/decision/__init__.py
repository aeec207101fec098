"""What to do with scores: each module is one question, a dataclass from `DecisionContext` to `DecisionResult`."""

from __future__ import annotations

from typing import Protocol

from propensity.decision.context import DecisionContext
from propensity.decision.result import DecisionResult


class Decision(Protocol):
    """A decision: its settings are fields, and a call takes the context and returns the result.

    ConfigurationError: the request contradicts itself. InfeasibleError: the data cannot meet it.
    """

    def __call__(self, context: DecisionContext) -> DecisionResult: ...
