"""What the service takes and gives. Sizes are bounded here, so that no request can be larger than one block."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MOST_EVENTS, MOST_OFFERS, MOST_REASONS = 2_000, 2_000, 50
Amount = Annotated[float, Field(allow_inf_nan=False, ge=-1e9, le=1e9)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Strict(BaseModel):
    """A misspelt field is an error, not a silence."""

    model_config = ConfigDict(extra="forbid")


class RawEvent(Strict):
    """One line of a customer's history. Items and channels that the bundle does not know count as unknown."""

    day: datetime.date
    kind: Literal["purchase", "view", "message", "redemption", "return"] = "purchase"
    item: Name | None = None
    channel: Name | None = None
    order: Name | None = Field(default=None, description="without one, a day's purchases are one order")
    quantity: Amount = 1.0
    revenue: Amount = 0.0
    discount: Amount = 0.0


class ScoreRequest(Strict):
    """Either `customer`, an id of the log that the service was started with, or `events`."""

    customer: Name | None = None
    events: list[RawEvent] | None = Field(default=None, max_length=MOST_EVENTS)
    date: datetime.date | None = Field(default=None, description="send date; if not the tables' own")
    offers: list[Name] | None = Field(default=None, min_length=1, max_length=MOST_OFFERS, description="if not all")
    reasons: int = Field(
        default=0, ge=0, le=MOST_REASONS, description="how many reasons for the best offer's probability"
    )


class OfferScore(Strict):
    offer: str
    probability: float
    expected_revenue: float


class Reason(Strict):
    """How much a part of what is known moved the probability: `about` is an event, a column or everything else."""

    about: str
    contribution: float


class Explained(Strict):
    """`base` is what the offer has with a customer about whom nothing is known; base and contributions add up to the
    probability."""

    offer: str
    base: float
    reasons: list[Reason]
    rest: float


class ScoreAnswer(Strict):
    date: datetime.date
    scores: list[OfferScore]
    explained: Explained | None = None


class ErrorBody(Strict):
    """What was wrong, and the way out."""

    error: str


class Health(Strict):
    status: Literal["ok"]


class ModelCard(Strict):
    """What is served."""

    digest: str
    commit: str | None
    tables_of: datetime.date
    valid_until: datetime.date
    horizon: int
    offers: list[str]
    metrics: dict[str, object] | None
