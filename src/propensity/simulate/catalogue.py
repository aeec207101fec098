"""Catalogue of the synthetic market: categories with seasons, items with life cycles.

Shapes: I items, M categories, K planted trigger-target pairs, T days.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from propensity.simulate.settings import SimulationConfig

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

AGE_GROUPS = ("18-24", "25-34", "35-49", "50-64", "65+")
REGIONS = ("north", "east", "south", "west", "centre")
YEAR = 365.25
FACTORS = 4  # latent factors of customer preferences


class Catalogue(NamedTuple):
    """Parameters that all customers share."""

    category: Ints  # (I,) ascending; the last item of each category is sold from the first day
    brand: Ints  # (I,)
    price: Floats  # (I,)
    popularity: Floats  # (I,) Zipf weight within the category
    launch: Ints  # (I,) first day of sale; 0 for items that are sold from the start
    appeal: Floats  # (M,) mean purchase intensity per visit
    loading: Floats  # (M, FACTORS) factor loadings
    age_factor: Floats  # (age groups, FACTORS) mean of the factors by age group
    region_factor: Floats  # (regions, FACTORS) mean of the factors by region
    season_amplitude: Floats  # (M,) amplitude of the yearly season on the log scale
    season_peak: Floats  # (M,) day of its maximum, in days since 1970-01-01 modulo 365.25
    interpurchase_time: Floats  # (M,) typical days between purchases
    trigger: Ints  # (K,) categories whose purchase raises the intensity of `target`
    target: Ints  # (K,) categories that are raised at the next visit

    @property
    def advertised(self) -> Ints:
        """Categories that messages are about: all except the triggers."""
        return np.setdiff1d(np.arange(self.interpurchase_time.size), self.trigger)

    @property
    def first(self) -> Ints:
        """First item of each category (M,)."""
        return np.searchsorted(self.category, np.arange(self.interpurchase_time.size)).astype(np.int64)


def build_catalogue(config: SimulationConfig) -> Catalogue:
    """Draw the catalogue of a market.

    Parameters
    ----------
    config : SimulationConfig
        Sizes, strengths and seed.

    Returns
    -------
    Catalogue
        The same catalogue for every call with the same settings.
    """
    rng, items, categories = config.stream(0), config.items, config.categories
    category = np.sort(np.arange(items) % categories)
    rank = np.arange(items) - np.searchsorted(category, category)
    new = (rng.random(items) < config.new_item_share) & ~np.append(category[1:] != category[:-1], True)
    launch = rng.integers(config.days // 4, config.days, items)
    appeal = 1.0 / (1.0 + np.arange(categories)) ** 0.7
    pair = 2 * np.arange(min(3, categories // 2))
    loading = rng.normal(size=(categories, FACTORS))
    price: Floats = np.exp(rng.normal(1.2, 0.6, categories)[category] + rng.normal(0, 0.3, items)).round(2)
    popularity: Floats = np.power(1.0 + rank, -1.1)
    return Catalogue(
        category=category,
        brand=rng.integers(0, max(items // 8, 2), items),
        price=price,
        popularity=popularity,
        launch=np.where(new, launch, 0),
        appeal=config.basket * appeal / appeal.sum(),
        loading=loading / np.linalg.norm(loading, axis=1, keepdims=True),
        age_factor=rng.normal(0, 0.5, (len(AGE_GROUPS), FACTORS)),
        region_factor=rng.normal(0, 0.3, (len(REGIONS), FACTORS)),
        season_amplitude=config.season_strength * rng.uniform(0, 0.8, categories),
        season_peak=rng.uniform(0, YEAR, categories),
        interpurchase_time=np.exp(rng.normal(np.log(21), 0.4, categories)),
        trigger=pair,
        target=pair + 1,
    )


def season_factor(catalogue: Catalogue, day: int) -> Floats:
    """Compute the seasonal factor of each category.

    Parameters
    ----------
    catalogue : Catalogue
        Amplitudes and peaks.
    day : int
        Days since 1970-01-01.

    Returns
    -------
    numpy.ndarray of shape (M,)
        The exponential of one Fourier harmonic, with mean 1 over a year.
    """
    phase = 2 * np.pi * (day - catalogue.season_peak) / YEAR
    factor: Floats = np.exp(catalogue.season_amplitude * np.cos(phase)) / np.i0(catalogue.season_amplitude)
    return factor


def item_shares(catalogue: Catalogue, t: Ints) -> Floats:
    """Compute the share of each item in the purchases of its category.

    Parameters
    ----------
    catalogue : Catalogue
        Popularity and launch days.
    t : numpy.ndarray of shape (T,)
        Days of the simulation.

    Returns
    -------
    numpy.ndarray of shape (T, I)
        Shares that sum to 1 in each category; 0 before the launch.
    """
    age = t[:, None] - catalogue.launch
    life_cycle = np.where(catalogue.launch > 0, 0.5 + 1.5 * np.exp(-np.maximum(age, 0) / 45), 1.0)
    weight = np.where(age >= 0, catalogue.popularity * life_cycle, 0.0)
    share: Floats = weight / np.add.reduceat(weight, catalogue.first, axis=1)[:, catalogue.category]
    return share


def mean_price(catalogue: Catalogue, t: Ints) -> Floats:
    """Compute the mean price of a unit sold.

    Parameters
    ----------
    catalogue : Catalogue
        Prices and item shares.
    t : numpy.ndarray of shape (T,)
        Days of the simulation.

    Returns
    -------
    numpy.ndarray of shape (T, M)
        Mean price by category, in currency.
    """
    price: Floats = np.add.reduceat(item_shares(catalogue, t) * catalogue.price, catalogue.first, axis=1)
    return price
