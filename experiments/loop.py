"""Does a loop of plan, send, outcome and learning earn more per message from round to round?

python experiments/loop.py [markets=3] [first=0]

The synthetic market, without messages of its own. A message multiplies the intensity of purchases of its category for
14 days, by the state of the pair when it is sent (`EFFECT`). Each round plans with `decide` at the same number of
messages, simulates what happens, and learns uplift of all messages so far with `ab uplift`. The first plan can only be
one by propensity. One loop sends `SHARE` of its messages at random, the other none; without random messages nothing can
be learned, and its plans stay by propensity. The network is trained once; its scores follow the log. Incremental
margins are exact expectations of the simulator.
"""

from __future__ import annotations

import copy
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

import propensity as pp
from propensity.ab.command import write
from propensity.ab.table import Columns
from propensity.ab.uplift import UpliftRules
from propensity.data.event_log import to_date
from propensity.decision.arms import decided
from propensity.decision.campaign import CampaignPlan
from propensity.decision.context import gather
from propensity.decision.objective import INCREMENTAL, PREDICTED, Objective, objective_of
from propensity.decision.result import DecisionResult
from propensity.errors import InfeasibleError
from propensity.evaluation.message_experiment import message_experiment
from propensity.evaluation.message_uplift import uplift_of
from propensity.simulate.catalogue import Catalogue, build_catalogue, mean_price
from propensity.simulate.customer import Customers
from propensity.simulate.settings import BLOCK, SimulationConfig
from propensity.simulate.simulate import PURCHASE, State, simulate, simulate_day
from propensity.simulate.transaction import MEAN_PAID
from propensity.simulate.truth import forecast

BLOCKS, CATEGORIES, HISTORY, HORIZON, ROUNDS = 4, 12, 250, 14, 3
EFFECT, LAPSED = {"never-bought": 3.0, "lapsed": 2.2, "active": 1.1}, 91
SHARE, AUDIENCE, MARGIN = 0.3, 0.1, 0.3
COLUMNS = Columns("arm", "holdout", ["bought", "value"], probability="probability")
LEARNED_BY = ("x", "dr", "head")  # with the regression gcv: what the figures of loop.md are of
FEW = {
    "data.offer.min_buyers": 3, "data.cutoff.count": 6, "data.feature.history": 24, "data.market_stats.references": 3,
    "data.market_stats.neighbour_categories": 2, "training.validation": None, "champion": "network", "baselines": [],
}  # fmt: skip


class Part(NamedTuple):
    """A block of customers and its random stream."""

    rng: np.random.Generator
    customers: Customers
    state: State


class Market:
    """The synthetic market on a day."""

    def __init__(self, seed: int) -> None:
        self.config = SimulationConfig(
            customers=BLOCK * BLOCKS, categories=CATEGORIES, items=CATEGORIES, days=HISTORY + ROUNDS * HORIZON + 1,
            seed=seed, messages=0.0, views=0.0, returns=0.0, new_item_share=0.0,
        )  # fmt: skip
        self.catalogue: Catalogue = build_catalogue(self.config)
        self.day, self.parts, self.events = HISTORY, [], []
        for block in range(BLOCKS):
            customers, state, trace = simulate(self.config, self.catalogue, block, HISTORY)
            self.parts.append(Part(self.config.stream(1, block, 1), customers, state))
            self._record(block, np.stack(trace))

    def _record(self, block: int, events: np.ndarray) -> None:
        row, day, category, kind, _ = events
        bought = kind == PURCHASE
        self.events.append(np.stack([row[bought] + block * BLOCK, day[bought], category[bought]]))

    def log(self, folder: Path) -> Path:
        """The event log so far."""
        customer, day, category = np.concatenate(self.events, axis=1)
        price = np.round(mean_price(self.catalogue, day)[np.arange(day.size), category] * MEAN_PAID, 2)
        names = pl.Series([f"category_{m:03d}" for m in range(CATEGORIES)])
        sales = pl.DataFrame(
            {
                "card": customer,
                "sold_on": pl.Series((self.config.epoch_day(0) + day).astype(np.int32)).cast(pl.Date),
                "sku": category,
                "category": names.gather(category),
                "total": price,
            }
        )
        names_of = {"customer": "card", "day": "sold_on", "item": "sku", "revenue": "total"}
        pp.prepare(sales, str(folder), **names_of, item_columns=["category"])
        return folder

    @property
    def date(self) -> str:
        """Today."""
        return str(to_date(self.config.epoch_day(self.day)))

    def factor(self, block: int) -> np.ndarray:
        """(1024, M) what a message today would multiply the intensity by."""
        last = self.parts[block].state.last
        old = np.where(self.day - last > LAPSED, EFFECT["lapsed"], EFFECT["active"])
        return np.where(last < 0, EFFECT["never-bought"], old)

    def earned(self, block: int) -> np.ndarray:
        """(1024, M) exact expected margin that a message today adds, in its category."""
        part, factor = self.parts[block], self.factor(block)
        with_message = part.customers._replace(preference=part.customers.preference * factor)
        one, two = (
            forecast(self.config, self.catalogue, customers, part.state, self.day, HORIZON)[1]
            for customers in (with_message, part.customers)
        )
        return MARGIN * (one - two)

    def send(self, sent: np.ndarray) -> None:
        """Fourteen days in which the pairs `sent` (N, M) have a message."""
        for block, part in enumerate(self.parts):
            rows = slice(block * BLOCK, (block + 1) * BLOCK)
            preference = np.where(sent[rows], part.customers.preference * self.factor(block), part.customers.preference)
            customers = part.customers._replace(preference=preference)
            for day in range(self.day, self.day + HORIZON):
                for events in simulate_day(part.rng, self.config, self.catalogue, customers, part.state, day):
                    self._record(block, events)
        self.day += HORIZON


def planned(scores: Path, log: Path, objective: Objective, explore: float) -> DecisionResult:
    """The campaign plan, a tenth of the customers for each category."""
    context = gather(str(scores), None, None, None, str(log), 17, lambda sentence: None)
    size = round(AUDIENCE * context.scores.customer.size)
    campaigns = [
        {"offer": name, "days": [k % 7], "most": size, "cost": 0.0} for k, name in enumerate(context.scores.offer)
    ]
    return decided(
        CampaignPlan(campaigns, mode="volume", margin=MARGIN, prices=False, explore=explore), context, objective, None
    )


def loop(market: Market, model: pp.Model, explore: float, folder: Path) -> pl.DataFrame:
    """Exact incremental margin of each message: round, customer, offer, earned, objective."""
    rounds, messages, uplift = [], [], None
    log = market.log(folder / "log 0")
    for number in range(1, ROUNDS + 1):
        scores = folder / f"scores {number}.parquet"
        model.score(market.date, log).write_parquet(scores)
        result, name = _plan(scores, log, uplift, explore)
        earned = np.concatenate([market.earned(block) for block in range(BLOCKS)])
        contacts = result.table.select("customer_id", "offer_id")
        row = contacts["customer_id"].cast(pl.Int64).to_numpy()
        column = contacts["offer_id"].str.slice(-3).cast(pl.Int64).to_numpy()
        rounds.append(
            contacts.with_columns(earned=pl.Series(earned[row, column]), round=pl.lit(number), objective=pl.lit(name))
        )
        sent = np.zeros(earned.shape, bool)
        sent[row, column] = True
        market.send(sent)
        log = market.log(folder / f"log {number}")
        if "exploration" in result.extra_tables and number < ROUNDS:
            messages.append(result.extra_tables["exploration"])
            uplift = folder / f"uplift {number}"
            learn(model, pl.concat(messages), market.date, log, uplift)
    return pl.concat(rounds)


def _plan(scores: Path, log: Path, uplift: Path | None, explore: float) -> tuple[DecisionResult, str]:
    """By uplift where an experiment shows that it ranks, else by propensity."""
    if uplift is not None:
        try:
            return planned(scores, log, objective_of(INCREMENTAL, 0.3, str(uplift)), explore), INCREMENTAL
        except InfeasibleError as refusal:
            print(refusal)
    return planned(scores, log, Objective(), explore), PREDICTED


def learn(model: pp.Model, messages: pl.DataFrame, at: str, log: Path, out: Path) -> None:
    """`ab uplift` of all messages so far."""
    joined = message_experiment(str(model.run), messages, COLUMNS, str(log), at)
    result, table, pairs = uplift_of(joined, UpliftRules(LEARNED_BY, "gcv", orderings=199, resamples=50))
    write(str(out), "uplift", result | {"at": at}, table, pairs=pairs)
    if result["refused"]:
        print(result["refused"])


def main(markets: str = "3", first: str = "0") -> None:
    """Prints the margin per message of each round, and the differences, in markets of the seeds from `first` on."""
    tables = []
    for seed in range(int(first), int(first) + int(markets)):
        base = Market(seed)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            model = pp.fit(
                base.log(folder / "log"), offer="category", horizon=HORIZON, out=folder / "run", settings=FEW
            )
            for explore in (SHARE, 0.0):
                own = folder / f"explore {explore}"
                own.mkdir()
                table = loop(copy.deepcopy(base), model, explore, own)
                tables.append(table.with_columns(explore=pl.lit(explore), market=pl.lit(seed)))
        compare(pl.concat(tables))


def compare(table: pl.DataFrame, resamples: int = 1000) -> None:
    """Margin per message and differences between rounds; customers of all markets are resampled in pairs."""
    by_round = table.group_by("explore", "round", "objective")
    print(by_round.agg(pl.len(), pl.col("earned").mean()).sort("explore", "round"), flush=True)
    sums = table.group_by("market", "customer_id", "explore", "round").agg(pl.col("earned").sum(), pl.len().alias("n"))
    keys = sums.select("market", "customer_id").unique(maintain_order=True).with_row_index("key")
    sums = sums.join(keys, on=["market", "customer_id"])
    weight = np.random.default_rng(1).poisson(1.0, (resamples, keys.height))
    means = {}
    for (explore, number), part in sums.group_by("explore", "round"):
        chosen = weight[:, part["key"].to_numpy()]
        means[explore, number] = (chosen @ part["earned"].to_numpy()) / (chosen @ part["n"].to_numpy())
    gains = {explore: means[explore, ROUNDS] - means[explore, 1] for explore in (SHARE, 0.0)}
    gains["difference"] = gains[SHARE] - gains[0.0]
    for name, gain in gains.items():
        low, high = np.quantile(gain, (0.025, 0.975))
        print(
            f"round {ROUNDS} minus round 1, {name}: {gain.mean():+.4f} [{low:+.4f}, {high:+.4f}] per message",
            flush=True,
        )


if __name__ == "__main__":
    main(**dict(each.split("=", 1) for each in sys.argv[1:]))
