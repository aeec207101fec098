"""Settings of a synthetic market that is prepared and trained in seconds, without its number of customers."""

from __future__ import annotations

MARKET = (
    "data/source=synthetic",
    "data.source.items=60",
    "data.source.categories=8",
    "data.source.days=200",
    "data.offer.column=category",
    "data.offer.min_buyers=3",
    "data.cutoff.count=4",
    "data.feature.history=24",
    "data.market_stats.references=3",
    "data.market_stats.neighbour_categories=2",
)
