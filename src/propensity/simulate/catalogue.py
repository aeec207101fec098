"""What is sold: categories with seasons, items with life cycles. Shapes: I items, M categories, K planted pairs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from propensity.simulate.settings import Settings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

AGE_GROUPS = ("18-24", "25-34", "35-49", "50-64", "65+")
REGIONS = ("north", "east", "south", "west", "centre")
YEAR = 365.25
TASTES = 4


class Catalogue(NamedTuple):
    """Everything all customers share."""

    category: Ints  # (I,) ascending; the last item of each category is sold from the first day
    brand: Ints  # (I,)
    price: Floats  # (I,)
    popularity: Floats  # (I,) Zipf within the category
    launch: Ints  # (I,) first day on the shelf; 0 for the established
    appeal: Floats  # (M,) mean purchase intensity per visit
    loading: Floats  # (M, TASTES)
    age_taste: Floats  # (ages, TASTES)
    region_taste: Floats  # (regions, TASTES)
    swing: Floats  # (M,) strength of the yearly season, on the log scale
    peak: Floats  # (M,) its maximum, in days since 1970-01-01 modulo a year of 365.25
    gap: Floats  # (M,) typical days between purchases
    trigger: Ints  # (K,) categories whose purchase raises ...
    target: Ints  # (K,) ... these at the next visit

    @property
    def advertised(self) -> Ints:
        """Categories that messages are about: all but the triggers."""
        return np.setdiff1d(np.arange(self.gap.size), self.trigger)

    @property
    def first(self) -> Ints:
        """(M,) first item of each category."""
        return np.searchsorted(self.category, np.arange(self.gap.size)).astype(np.int64)


def build_stock(settings: Settings) -> Catalogue:
    rng, items, categories = settings.stream(0), settings.items, settings.categories
    category = np.sort(np.arange(items) % categories)
    rank = np.arange(items) - np.searchsorted(category, category)
    new = (rng.random(items) < settings.new_item_share) & ~np.append(category[1:] != category[:-1], True)
    later = rng.integers(settings.days // 4, settings.days, items)
    appeal = 1.0 / (1.0 + np.arange(categories)) ** 0.7
    pair = 2 * np.arange(min(3, categories // 2))
    loading = rng.normal(size=(categories, TASTES))
    price: Floats = np.exp(rng.normal(1.2, 0.6, categories)[category] + rng.normal(0, 0.3, items)).round(2)
    popularity: Floats = np.power(1.0 + rank, -1.1)
    return Catalogue(
        category=category,
        brand=rng.integers(0, max(items // 8, 2), items),
        price=price,
        popularity=popularity,
        launch=np.where(new, later, 0),
        appeal=settings.basket * appeal / appeal.sum(),
        loading=loading / np.linalg.norm(loading, axis=1, keepdims=True),
        age_taste=rng.normal(0, 0.5, (len(AGE_GROUPS), TASTES)),
        region_taste=rng.normal(0, 0.3, (len(REGIONS), TASTES)),
        swing=settings.season_strength * rng.uniform(0, 0.8, categories),
        peak=rng.uniform(0, YEAR, categories),
        gap=np.exp(rng.normal(np.log(21), 0.4, categories)),
        trigger=pair,
        target=pair + 1,
    )


def season(catalogue: Catalogue, day: int) -> Floats:
    """Seasonal factor of each category, (M,), with mean one over a year: exp of one Fourier harmonic."""
    factor: Floats = np.exp(catalogue.swing * np.cos(2 * np.pi * (day - catalogue.peak) / YEAR)) / np.i0(
        catalogue.swing
    )
    return factor


def shelf(catalogue: Catalogue, t: Ints) -> Floats:
    """Share of each item in its category's purchases: (T,) days of the world -> (T, I). Zero before the launch."""
    age = t[:, None] - catalogue.launch
    life = np.where(catalogue.launch > 0, 0.5 + 1.5 * np.exp(-np.maximum(age, 0) / 45), 1.0)
    weight = np.where(age >= 0, catalogue.popularity * life, 0.0)
    share: Floats = weight / np.add.reduceat(weight, catalogue.first, axis=1)[:, catalogue.category]
    return share


def mean_price(catalogue: Catalogue, t: Ints) -> Floats:
    """Mean price of a unit sold: (T,) -> (T, M)."""
    price: Floats = np.add.reduceat(shelf(catalogue, t) * catalogue.price, catalogue.first, axis=1)
    return price
