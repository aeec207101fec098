"""Cost of scoring a whole catalogue, part by part, by products and customers, on a market that is made up.

    python experiments/catalogue_size.py <out> [products x customers ...]

For each size: a log of 90 days, in which a customer makes `BASKETS` baskets of `LINES` products on average, a third of
them products that he bought before and the rest by a popularity of the power law. The parts of a scoring are timed in
one process: what a log costs, what a week costs, what a cutoff costs, and what 1,000 requests cost. The network is not
trained: its cost does not depend on its weights. Prints CPU-seconds and the peak memory of the process.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from propensity.catalogue.market import affinity_day, market_at, similarities
from propensity.catalogue.network import PairNetwork, Scaler, perceptron
from propensity.catalogue.pairs import Catalogue
from propensity.catalogue.profile import basis_of, buyers_of
from propensity.catalogue.requests import Requests
from propensity.data.catalogue import CatalogueConfig
from propensity.data.event_log import EventLog
from propensity.data.offer import offers_before
from propensity.data.offer.column import ColumnOffers
from propensity.ingest.build import build_log
from propensity.ingest.source import Tables

START, DAYS, BASKETS, LINES, REQUESTS = date(2024, 1, 1), 90, 8, 4, 1_000
POWER = 0.8  # popularity of the product at rank r is r to the power of minus this
PARTS = ("sales", "partners", "profiles", "market", "buyers", "columns", "network")


def made_up(products: int, customers: int, seed: int = 0) -> EventLog:
    """The log of a market."""
    random = np.random.default_rng(seed)
    baskets = random.poisson(BASKETS - 1, customers) + 1
    customer = np.repeat(np.arange(customers), baskets)
    day = random.integers(0, DAYS, customer.size)
    lines = random.poisson(LINES - 1, customer.size) + 1
    customer, day = np.repeat(customer, lines), np.repeat(day, lines)
    chance = np.cumsum(np.arange(1, products + 1) ** -POWER)
    product = np.searchsorted(chance, random.random(customer.size) * chance[-1])
    start = np.searchsorted(customer, np.arange(customers))
    again = np.flatnonzero(random.random(customer.size) < 1 / 3)
    earlier = start[customer[again]] + (random.random(again.size) * (again - start[customer[again]])).astype(int)
    product[again] = product[earlier]
    events = pl.DataFrame({
        "customer": customer, "day": pl.Series(day + (START - date(1970, 1, 1)).days, dtype=pl.Int32).cast(pl.Date),
        "item": product, "kind": pl.repeat("purchase", customer.size, eager=True),
        "channel": pl.repeat(None, customer.size, dtype=pl.String, eager=True),
        "order": pl.repeat(None, customer.size, dtype=pl.Int64, eager=True), "quantity": np.ones(customer.size),
        "revenue": 1.0 + product % 7, "discount": np.zeros(customer.size),
    })  # fmt: skip
    items = pl.DataFrame({"item": np.arange(products), "category": np.arange(products) % 1_000})
    people = pl.DataFrame({"customer": np.arange(customers)})
    return build_log(Tables(events.lazy(), items.lazy(), people.lazy(), {}, events.height))


def untrained(x: np.ndarray, config: CatalogueConfig) -> PairNetwork:
    """A network as large as a trained one."""
    scaler = Scaler.fit(x, np.ones(len(x)), np.random.default_rng(0))
    torch.manual_seed(0)
    return PairNetwork(scaler, [perceptron(scaler.width, config.hidden, 0.0).eval() for _ in range(3)], config.hidden)


def costs(log: EventLog, products: int) -> dict[str, float]:
    """CPU-seconds of each part of a scoring at the last day, and the pairs of `REQUESTS` requests."""
    spent, day, config = dict[str, float](), log.last_day + 1, CatalogueConfig()

    def timed(name: str, part: Callable[[], Any]) -> Any:
        start = time.process_time()
        result = part()
        spent[name] = time.process_time() - start
        return result

    offers = offers_before(log, ColumnOffers("item"), day)
    catalogue = timed("sales", lambda: Catalogue.of(log, offers, config, None))
    sales, week = catalogue.sales, affinity_day(day)
    catalogue._similar = {week: timed("partners", lambda: similarities(sales, week, config.strongest))}
    catalogue._basis = {week: timed("profiles", lambda: basis_of(sales, catalogue.group, week))}
    timed("market", lambda: market_at(sales, catalogue.group, day))
    timed("buyers", lambda: buyers_of(sales, catalogue.basis(day), day))
    rows = np.linspace(0, len(log) - 1, REQUESTS).astype(np.int64)
    requests = Requests(rows, np.full(REQUESTS, day))
    (block,) = catalogue.blocks(requests)
    x = timed("columns", lambda: catalogue.columns(catalogue._pairs(block.market, block.request, requests)
                                                   ._replace(buyers=block.buyers), requests))  # fmt: skip
    network = untrained(x[:20_000], config)
    timed("network", lambda: network.logit(x))
    return spent | {"pairs": float(len(x))}


def main(folder: str, sizes: Sequence[str]) -> None:
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    costs(made_up(200, 300), 200)  # compiles the kernels
    print(f"| products | customers | lines | {' | '.join(PARTS)} | pairs | GiB |")
    print("|---:" * (len(PARTS) + 5) + "|")
    for size in sizes:
        products, customers = map(int, size.split("x"))
        place = out / f"made_up_{size}"
        if not (place / "meta.json").is_file():
            made_up(products, customers).save(place)
        log = EventLog.open(place)
        spent = costs(log, products)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        cells = " | ".join(f"{spent[name]:.2f}" for name in PARTS)
        print(
            f"| {products:,} | {customers:,} | {log.day.size:,} | {cells} | {spent['pairs']:,.0f} | {memory:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:] or ["2000x10000", "10000x30000", "50000x100000"])
