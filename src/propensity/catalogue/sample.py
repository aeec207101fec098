"""Pairs to learn from: all purchases among the offers of training requests, and a sample of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from propensity.catalogue.pairs import Catalogue, Pairs, select
from propensity.catalogue.requests import Requests


class Sample(NamedTuple):
    """P pairs of training requests."""

    x: np.ndarray  # (P, F) float32, see `propensity.catalogue.column.COLUMNS`
    bought: np.ndarray  # (P,) bool
    revenue: np.ndarray  # (P,) float32, paid in the horizon
    usual: np.ndarray  # (P,) float32, see `Catalogue.usual`
    weight: np.ndarray  # (P,) float64, pairs that each stands for
    day: np.ndarray  # (P,) int64

    def take(self, mask: np.ndarray) -> Sample:
        """The pairs for which `mask` (P,) is true."""
        return Sample(*(values[mask] for values in self))


def training_sample(catalogue: Catalogue, requests: Requests, horizon: int, seed: int) -> Sample:
    """Sample the pairs of training requests.

    Parameters
    ----------
    catalogue : Catalogue
        Sales and settings: about `negatives` never-bought negatives for each purchase, about `pairs` at most.
    requests : Requests
        R requests whose label windows have closed.
    horizon : int
        Days in which a purchase counts.
    seed : int
        Of the sample of requests and of pairs.

    Returns
    -------
    Sample
        A sampled pair has the inverse of its sampling rate as weight, so that rates of purchase stay unbiased.
    """
    config, random = catalogue.config, np.random.default_rng(seed)
    per_request = max(catalogue.bought_rows(requests, horizon) / max(requests.number, 1), 1.0) * (1 + config.negatives)
    if (most := int(config.pairs / per_request) + 1) < requests.number:
        requests = requests.take(np.sort(random.choice(requests.number, most, replace=False)))
    parts = []
    for here, pairs, asked in blocks_of(catalogue, requests):
        bought, revenue = here.labels(pairs, asked, horizon)
        rate = min(config.negatives * max(int(bought.sum()), 1) / max(int((~bought).sum()), 1), 1.0)
        mask = bought | (random.random(bought.size) < rate)
        chosen = select(pairs, mask)
        x = here.columns(chosen, asked)
        weight = np.where(bought[mask], 1.0, 1 / rate)
        day = np.full(weight.size, pairs.market.day, np.int64)
        parts.append(Sample(x, bought[mask], revenue[mask], here.usual(chosen, x), weight, day))
    return Sample(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def blocks_of(catalogue: Catalogue, requests: Requests) -> Iterator[tuple[Catalogue, Pairs, Requests]]:
    """The blocks of pairs of all requests, with the catalogue and the requests that they belong to."""
    for here, position in catalogue.parts(requests):
        asked = requests.part(position)
        for pairs in here.blocks(asked):
            yield here, pairs, asked
