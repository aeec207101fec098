"""What customers bought in the label windows of requests, and before."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from propensity.catalogue.hours import TimedSales, timed_sales
from propensity.catalogue.kernel.retrieve import own_ends
from propensity.catalogue.moment import moments
from propensity.catalogue.requests import Requests
from propensity.data.event_log import EventLog
from propensity.data.offer import Offers


class Outcomes(NamedTuple):
    """K purchases of offers in the label windows of R requests, each request and offer once, ascending."""

    request: np.ndarray  # (K,) int64
    offer: np.ndarray  # (K,) int64
    revenue: np.ndarray  # (K,) float64
    repeat: np.ndarray  # (K,) bool, bought before the request too
    offers: int  # M
    past: np.ndarray  # ascending numbers `request * M + offer` of what was bought before the request


def outcomes_of(log: EventLog, offers: Offers, requests: Requests, horizon: int) -> Outcomes:
    """The purchases of requests; where they name offers, of these alone.

    Parameters
    ----------
    log : EventLog
        A log whose last label window has closed.
    offers : Offers
        M offers.
    requests : Requests
        R requests.
    horizon : int
        Days in which a purchase counts.
    """
    sales, first, last = windows(log, offers, requests, horizon)
    begin, end = (np.empty(requests.number, np.int64) for _ in range(2))
    own_ends(sales.offsets, sales.time, requests.customer, first, begin)
    own_ends(sales.offsets, sales.time, requests.customer, last, end)
    past = np.unique(_keys(sales, sales.offsets[requests.customer], begin, len(offers))[0])
    key, row = _keys(sales, begin, end, len(offers))
    if requests.named is not None:
        offsets, named = requests.named
        wanted = np.repeat(np.arange(requests.number), np.diff(offsets)) * len(offers) + named
        inside = np.isin(key, wanted)
        key, row = key[inside], row[inside]
    unique, inverse = np.unique(key, return_inverse=True)
    revenue = np.bincount(inverse, weights=sales.revenue[row], minlength=unique.size)
    repeat = np.isin(unique, past)
    return Outcomes(unique // len(offers), unique % len(offers), revenue, repeat, len(offers), past)


def windows(
    log: EventLog, offers: Offers, requests: Requests, horizon: int
) -> tuple[TimedSales, np.ndarray, np.ndarray]:
    """Purchases by day or moment, and the beginnings and ends (R,) of the label windows."""
    if requests.clock is not None:
        first = moments(requests.day, requests.clock, log.timezone)
        return timed_sales(log, offers), first, moments(requests.day + horizon, requests.clock, log.timezone)
    return timed_sales(log, offers, by_day=True), requests.day, requests.day + horizon


def _keys(sales: TimedSales, begin: np.ndarray, end: np.ndarray, offers: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers `request * M + offer` of the rows in [begin, end) of each request, and the rows."""
    counts = end - begin
    row = np.repeat(begin, counts) + np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(np.arange(begin.size), counts) * offers + sales.offer[row], row
