"""Request and response bodies of the values of customers over HTTP."""

from __future__ import annotations

import datetime
from typing import Annotated

from pydantic import Field, StrictInt

from propensity.serving.schema import MAX_CUSTOMERS, Name, StrictModel

MAX_LENGTHS = 100
Weeks = Annotated[list[Annotated[StrictInt, Field(ge=1, le=10_000)]], Field(min_length=1, max_length=MAX_LENGTHS)]


class WeeksRequest(StrictModel):
    """Which lengths of windows are wanted."""

    weeks: Weeks | None = Field(default=None, description="lengths of windows in weeks; default: all of the values")


class ValueRequest(WeeksRequest):
    """A customer by the id in the log that the service was started with."""

    customer_id: Name


class ManyValuesRequest(WeeksRequest):
    """Several customers."""

    customer_ids: list[Name] = Field(min_length=1, max_length=MAX_CUSTOMERS)


class WindowValue(StrictModel):
    """What a customer is expected to do within some weeks of the cutoff. Amounts are in the log's currency."""

    weeks: int
    p_active: float = Field(description="probability of an order")
    expected_orders: float
    expected_revenue: float
    expected_margin: float
    discounted_value: float = Field(description="margin, discounted to the cutoff")
    revenue_median: float = Field(description="of the customer's own revenue, whose mass at zero is 1 - p_active")
    revenue_upper_75: float
    revenue_upper_90: float = Field(description="the revenue stays below with a probability of 90 %")
    revenue_upper_95: float
    revenue_upper_99: float
    p_alive: float = Field(description="probability that the customer is still one at the end of the weeks")


class CustomerValue(StrictModel):
    """Values of a customer, the tier, and the early warning."""

    customer_id: str
    tier: str = Field(description="high, middle or low")
    silence_weeks: float = Field(description="weeks without a sign of life before the cutoff")
    usual_gap_weeks: float = Field(description="expected weeks between two signs of life")
    behind: float = Field(description="probability that a customer who stays would have come again by the cutoff")
    alarm_since: datetime.date | None = Field(description="day on which the alarm rang; null where it has not")
    values: list[WindowValue]


class ValueResponse(StrictModel):
    """Values of one customer."""

    cutoff: datetime.date
    currency: str | None
    customer: CustomerValue


class CustomerValueOrError(StrictModel):
    """Values of one of several customers, or why there are none."""

    customer: CustomerValue | None = None
    error: str | None = Field(default=None, description="what is wrong with this customer; the others have values")


class ManyValuesResponse(StrictModel):
    """Values of several customers, in the order of the request."""

    cutoff: datetime.date
    currency: str | None
    customers: list[CustomerValueOrError]
