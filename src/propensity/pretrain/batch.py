"""Batches of pretraining: histories before the end of the data, and questions about days within them.

Legend: B customers, Q queries, L events, M offers, W periods.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from propensity.data.batch import HISTORY, Inputs
from propensity.data.cutoff import Cutoff
from propensity.feature.calendar import season
from propensity.feature.features import Features
from propensity.feature.history_mask import HistoryMask
from propensity.kernel.event import PURCHASE
from propensity.kernel.ragged import positions

PERIODS = (7, 14, 28)  # days after a query within which offers are bought


class PretrainBatch(NamedTuple):
    """Histories and questions. Days count back from the end of the data, which is no day of the history."""

    history: Inputs  # B histories before the end, and its season; the other fields are empty
    query: Tensor  # (B, Q) float32, days from each query to the end
    valid: Tensor  # (B, Q) bool, whether the query has an event before it, and its longest period closes by the end
    bought: Tensor  # (B, Q, W, M) float32, offers bought in the periods after each query
    wait: Tensor  # (B, Q) float32, days from each query to the next purchase; infinite where there is none by the end
    masked: Tensor  # (B,) float32, days from the masked basket to the end; 0 without one
    basket: Tensor  # (B, M) float32, offers of the masked basket
    slices: Tensor  # (B, 2, 2) float32 in [0, 1), length and place of two slices of each history


class PretrainIndex(NamedTuple):
    """Which customers make a batch, and the seed of its questions."""

    rows: np.ndarray  # (B,) rows of the log
    seed: int


class PretrainSampler(Sampler[PretrainIndex]):
    """Shuffles the customers. Batches have equal sizes; the few customers that are left over wait for another epoch.

    Parameters
    ----------
    rows : (N,) rows of the log, at least `batch_size`, in an order that does not depend on later events.
    batch_size : customers in a batch.
    seed : of the order.
    rank, world : number of this process, and processes of a distributed run.
    """

    def __init__(self, rows: np.ndarray, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.rows, self.batch_size, self.seed, self.rank, self.world = rows, batch_size, seed, rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return max(self.rows.size // self.batch_size // self.world, 1)

    def __iter__(self) -> Iterator[PretrainIndex]:
        rng = np.random.default_rng((self.seed, self.epoch))
        rows = rng.permutation(self.rows)
        batches = [
            PretrainIndex(rows[k * self.batch_size : (k + 1) * self.batch_size], int(rng.integers(2**31)))
            for k in range(max(rows.size // self.batch_size, 1))
        ]
        yield from batches[self.rank :: self.world][: len(self)]


class PretrainBatches(Dataset[PretrainBatch]):
    """From a `PretrainIndex` to the batch.

    Parameters
    ----------
    features : Features
        Of the log before the end.
    end : Cutoff
        The end of the data; no event of that day or later is in the log.
    queries : int
        Q.
    """

    def __init__(self, features: Features, end: Cutoff, queries: int) -> None:
        self.features, self.end, self.queries = features, end, queries

    def __getitem__(self, index: PretrainIndex) -> PretrainBatch:
        rng = np.random.default_rng((index.seed, 1))
        history = history_of(self.features, self.end, index.rows)
        age, length = history.age.numpy(), history.length.numpy()
        query, valid = draw_queries(rng, age, length, self.queries)
        masked = draw_baskets(rng, history)
        customer, ago, offer = purchases_of(self.features, self.end.day, index.rows)
        offers = len(self.features.offers)
        arrays = {
            "query": query.astype(np.float32),
            "valid": valid,
            "bought": bought_after(customer, ago, offer, query, offers),
            "wait": waits(customer, ago, query),
            "masked": masked.astype(np.float32),
            "basket": bought_on(customer, ago, offer, masked, offers),
            "slices": rng.random((index.rows.size, 2, 2), np.float32),
        }
        return PretrainBatch(history, **{name: torch.from_numpy(array) for name, array in arrays.items()})


def history_of(features: Features, end: Cutoff, rows: np.ndarray) -> Inputs:
    """The last events of customers before the end, trimmed to the longest history."""
    arrays = features.histories(end, rows, HistoryMask.nothing(rows.size))
    width = max(int(arrays[-1].max(initial=0)), 1)
    fields = {name: torch.from_numpy(array) for name, array in zip((*HISTORY, "length"), arrays, strict=True)}
    fields |= {name: fields[name][:, :width] for name in HISTORY}
    empty = {name: torch.zeros(0) for name in Inputs._fields if name not in fields}
    terms = torch.from_numpy(season(end.day, end.horizon))
    return Inputs(**(fields | empty | {"season": terms}))


def draw_queries(rng: np.random.Generator, age: np.ndarray, length: np.ndarray, queries: int) -> tuple[np.ndarray, ...]:
    """Days from queries to the end (B, Q) int64, after the first event read and before the last whole period; valid.

    >>> ages = np.array([[40.0, 3.0], [20.0, 0.0], [0.0, 0.0]])
    >>> query, valid = draw_queries(np.random.default_rng(0), ages, np.array([2, 1, 0]), 5)
    >>> valid[:, 0].tolist(), bool(query[0].min() >= 28 and query[0].max() <= 39)
    ([True, False, False], True)
    """
    oldest = np.where(length > 0, age[:, 0], 0).astype(np.int64) - 1  # the day after the first event
    some = oldest >= PERIODS[-1]
    span = np.where(some, oldest - PERIODS[-1] + 1, 1)
    query = PERIODS[-1] + np.floor(rng.random((length.size, queries)) * span[:, None]).astype(np.int64)
    return query, np.broadcast_to(some[:, None], query.shape).copy()


def draw_baskets(rng: np.random.Generator, history: Inputs) -> np.ndarray:
    """Days from the basket that is masked to the end (B,) int64; 0 where there is no second day to know it by."""
    age, kind, length = history.age.numpy(), history.kind.numpy(), history.length.numpy()
    real = np.arange(age.shape[1]) < length[:, None]
    several = np.where(real, age, -np.inf).max(1) > np.where(real, age, np.inf).min(1)
    chance = np.where(real & (kind == PURCHASE), rng.random(age.shape), -1.0)
    at = chance.argmax(1)
    rows = np.arange(length.size)
    return np.where(several & (chance[rows, at] >= 0), age[rows, at], 0).astype(np.int64)


def purchases_of(features: Features, end: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All purchases of customers, a row for each offer of their item: place in the batch, days to the end, offer.

    A purchase of an item without an offer has a row with offer -1.
    """
    events, sets = features.events, features.sets
    start, count = events.offsets[rows], events.offsets[rows + 1] - events.offsets[rows]
    place, customer = positions(start, count), np.repeat(np.arange(rows.size), count)
    purchase = events.kind[place] == PURCHASE
    place, customer = place[purchase], customer[purchase]
    item = events.item[place].astype(np.int64)
    first = np.where(item >= 0, sets.offsets[np.maximum(item, 0)], 0)
    many = np.where(item >= 0, sets.offsets[np.maximum(item, 0) + 1], 0) - first
    rows_each = np.maximum(many, 1)
    offer = np.full(int(rows_each.sum()), -1, np.int64)
    offer[np.repeat(many > 0, rows_each)] = sets.offer[positions(first, many)]
    ago = end - events.day[place].astype(np.int64)
    return np.repeat(customer, rows_each), np.repeat(ago, rows_each), offer


def bought_after(
    customer: np.ndarray, ago: np.ndarray, offer: np.ndarray, query: np.ndarray, offers: int
) -> np.ndarray:
    """Offers that are bought within each of `PERIODS` after each query: (B, Q, W, M) float32.

    >>> bought_after(np.array([0, 0]), np.array([40, 30]), np.array([0, 1]), np.array([[40]]), 2)[0, 0].tolist()
    [[1.0, 0.0], [1.0, 1.0], [1.0, 1.0]]
    """
    out = np.zeros((*query.shape, len(PERIODS), offers), np.float32)
    known = offer >= 0
    customer, ago, offer = customer[known], ago[known], offer[known]
    after = query[customer] - ago[:, None]  # days from the query to the purchase
    for w, days in enumerate(PERIODS):
        event, place = np.nonzero((after >= 0) & (after < days))
        out[customer[event], place, w, offer[event]] = 1.0
    return out


def bought_on(customer: np.ndarray, ago: np.ndarray, offer: np.ndarray, day: np.ndarray, offers: int) -> np.ndarray:
    """Offers that are bought on one day of each customer, `day` (B,) before the end: (B, M) float32."""
    out = np.zeros((day.size, offers), np.float32)
    there = (offer >= 0) & (ago == day[customer]) & (day[customer] > 0)
    out[customer[there], offer[there]] = 1.0
    return out


def waits(customer: np.ndarray, ago: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Days from each query to the next purchase, on its own day or later: (B, Q) float32; infinite without one.

    >>> waits(np.array([0, 0]), np.array([40, 30]), np.array([[41, 40, 35, 29]])).tolist()
    [[1.0, 0.0, 5.0, inf]]
    """
    out = np.full(query.shape, np.inf, np.float32)
    after = (query[customer] - ago[:, None]).astype(np.float32)
    np.minimum.at(out, customer, np.where(after >= 0, after, np.inf).astype(np.float32))
    return out
