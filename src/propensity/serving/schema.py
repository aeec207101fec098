"""Request and response bodies of the HTTP service. Sizes are limited so that every request fits into one block."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StrictInt, Tag
from pydantic_core import to_json

MAX_EVENTS, MAX_OFFERS, MAX_REASONS = 2_000, 2_000, 50
MAX_CUSTOMERS, MAX_EXPLAINED = 256, 16  # in a request; explained customers among them
MAX_DEFINED, MAX_FILTER, MAX_ITEMS = 50, 2_000, 10_000  # offers that a request defines, characters and items of each
Amount = Annotated[float, Field(allow_inf_nan=False, ge=-1e9, le=1e9)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


Kind = Literal[
    "purchase", "view", "message", "redemption", "return", "cart", "open", "click", "search", "unsubscribe",
    "complaint", "registration",
]  # fmt: skip
Filter = Annotated[str, Field(min_length=1, max_length=MAX_FILTER)]
Items = Annotated[list[StrictInt | Name], Field(max_length=MAX_ITEMS)]


def _kind(value: object) -> str:
    """Which of two forms a value has, so that an error message is about that one alone."""
    return "names" if isinstance(value, list) else "definitions"


def _definition(value: object) -> str:
    """Whether an offer is defined by a filter or by its items."""
    return "filter" if isinstance(value, str) else "items"


Definition = Annotated[Annotated[Filter, Tag("filter")] | Annotated[Items, Tag("items")], Discriminator(_definition)]
Names = Annotated[list[Name], Field(min_length=1, max_length=MAX_OFFERS)]
Definitions = Annotated[dict[Name, Definition], Field(min_length=1, max_length=MAX_DEFINED)]
OfferChoice = Annotated[
    Annotated[Names, Tag("names")] | Annotated[Definitions, Tag("definitions")], Discriminator(_kind)
]


class StrictModel(BaseModel):
    """A body that refuses unknown fields."""

    model_config = ConfigDict(extra="forbid")


class RawEvent(StrictModel):
    """One event of a customer. Items and channels that the bundle does not know count as missing.

    An event of kind registration has the day of registration, and the source as its channel.
    """

    day: datetime.date
    kind: Kind = "purchase"
    item: Name | None = None
    channel: Name | None = None
    order: Name | None = Field(default=None, description="purchases of one day without an order id are one order")
    quantity: Amount = 1.0
    revenue: Amount = 0.0
    discount: Amount = 0.0


class CustomerRequest(StrictModel):
    """Either `customer_id`, an id in the log that the service was started with, or `events`."""

    customer_id: Name | None = None
    events: list[RawEvent] | None = Field(default=None, max_length=MAX_EVENTS)


class OffersRequest(StrictModel):
    """Which offers are scored, and when."""

    cutoff: datetime.date | None = Field(
        default=None, description="first day of the horizon; default: the cutoff of the bundled tables"
    )
    offers: OfferChoice | None = Field(
        default=None,
        description="offer ids, or offers that the bundle need not know: name -> filter over columns of the log's "
        "items, or list of item ids; default: all offers of the bundle",
    )
    reasons: int = Field(
        default=0, ge=0, le=MAX_REASONS, description="number of reasons for the probability of the highest-scored offer"
    )


class ScoreRequest(CustomerRequest, OffersRequest):
    """Either `customer_id`, an id in the log that the service was started with, or `events`."""


class ManyRequest(OffersRequest):
    """Several customers, each given by `customer_id` or `events`; offers, cutoff and reasons are those of all."""

    customers: list[CustomerRequest] = Field(
        min_length=1, max_length=MAX_CUSTOMERS, description=f"with reasons, at most {MAX_EXPLAINED}"
    )

    def single(self, customer: CustomerRequest) -> ScoreRequest:
        """The request for one of the customers."""
        return ScoreRequest.model_construct(
            customer_id=customer.customer_id,
            events=customer.events,
            cutoff=self.cutoff,
            offers=self.offers,
            reasons=self.reasons,
        )


class OfferScore(StrictModel):
    """Score of one offer."""

    offer_id: str
    probability: float = Field(description="of at least one purchase within the horizon")
    expected_revenue: float = Field(description="within the horizon, in the log's currency")


class Reason(StrictModel):
    """Contribution of a group of columns to the log-odds of the probability."""

    feature: str = Field(description="group of columns, such as How often")
    contribution: float = Field(description="change of the log-odds")
    sentence: str = Field(description="the reason in words, with values of the customer")


class Explanation(StrictModel):
    """Additive explanation: `base_value`, the contributions and `other` add up to `score`, exactly."""

    offer_id: str
    base_value: float = Field(description="log-odds of a customer without history and a typical offer")
    score: float = Field(description="log-odds of the probability")
    reasons: list[Reason]
    other: float = Field(description="contribution of all groups that are not listed")


class ScoreResponse(StrictModel):
    """Scores of one customer."""

    cutoff: datetime.date
    scores: list[OfferScore]
    explanation: Explanation | None = None


class Scored(NamedTuple):
    """Scores of one customer as plain values, which are written several times as fast as a `ScoreResponse`.

    Attributes
    ----------
    cutoff : date
        First day of the horizon.
    scores : list of dict
        With the fields of `OfferScore`.
    explanation : Explanation or None
        Reasons for the highest-scored offer.
    """

    cutoff: datetime.date
    scores: list[dict[str, Any]]
    explanation: Explanation | None = None


def offer_scores(names: Iterable[str], probability: Iterable[float], revenue: Iterable[float]) -> list[dict[str, Any]]:
    """Scores of offers with the fields of `OfferScore`.

    Parameters
    ----------
    names : iterable of str, length K
        Ids of the offers.
    probability, revenue : iterable of float, length K
        Probability and expected revenue.

    Returns
    -------
    list of dict
        In the order of the offers.
    """
    return [
        {"offer_id": name, "probability": p, "expected_revenue": r}
        for name, p, r in zip(names, probability, revenue, strict=True)
    ]


def body_of(content: Any) -> bytes:
    """The body of a response.

    Parameters
    ----------
    content : object
        Models and plain values by the names of the fields of a model.

    Returns
    -------
    bytes
        JSON, the same as that of the model.
    """
    return to_json(content, inf_nan_mode="null")


class CustomerScores(StrictModel):
    """Scores of one of several customers, or why there are none."""

    scores: list[OfferScore] | None = None
    explanation: Explanation | None = None
    error: str | None = Field(default=None, description="what is wrong with this customer; the others are scored")


class ManyResponse(StrictModel):
    """Scores of several customers, in the order of the request."""

    customers: list[CustomerScores]


class ErrorResponse(StrictModel):
    """What was wrong and what to do, in one sentence. Every error has this form."""

    error: str
    request_id: str = Field(description="as in the header X-Request-ID and in the service's log")


class Health(StrictModel):
    """State of the service."""

    status: Literal["ok"]


class Ready(StrictModel):
    """The service accepts requests."""

    status: Literal["ready"]
    digest: str = Field(description="of the bundle that is used")


class Refreshed(StrictModel):
    """What is used after a look at the files."""

    current: bool = Field(
        description="false where a changed bundle, log, file of tokens or folder of values cannot be used"
    )
    digest: str = Field(description="of the bundle that is used")


class ModelCard(StrictModel):
    """The model that the service uses."""

    champion: str
    digest: str
    commit: str | None
    tables_cutoff: datetime.date = Field(description="cutoff of the bundled tables")
    valid_until: datetime.date
    horizon: int = Field(description="days")
    offers: list[str]
    metrics: dict[str, object] | None
