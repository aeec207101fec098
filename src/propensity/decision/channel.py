"""Through which channel a customer will buy an offer, and which is worth its cost.

The scores say whether; through which channel is the customer's own habit of the last year, counted and drawn to the
offer's, which is drawn to everybody's; or, where asked for, what the network has learned, the same for every offer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from propensity.decision.context import DecisionContext
from propensity.decision.history import PurchaseHistory
from propensity.decision.picture import COLOURS, short
from propensity.decision.result import DecisionResult
from propensity.decision.rfm import purchases
from propensity.errors import ConfigurationError

ANY = "any"


@dataclass
class Channel:
    """The best channel of every customer for some offers, or none where no message pays.

    offers: None takes the `count` with the highest expected revenue. cost of a message by channel, `usual` for the
    others. learned: take the shares that the network left beside the scores, instead of counting habits in the log.
    own, shared: purchases that the offer's habit counts beside a customer's, and everybody's beside an offer's, where
    habits are counted. A channel for which customers have a column `consent_<channel>` is used with their consent only.
    """

    offers: Sequence[str] | None = None
    count: int = 10
    cost: Mapping[str, float] | None = None
    usual: float = 0.02
    margin: float = 0.3
    learned: bool = False
    own: float = 5.0
    shared: float = 50.0

    def __post_init__(self) -> None:
        self.cost = self.cost or {}
        if self.count < 1:
            raise ConfigurationError(f"decision.count={self.count} answers for nothing; give 1 or more")
        for name, value in {"usual": self.usual, **{f"cost.{k}": v for k, v in self.cost.items()}}.items():
            if not value >= 0:
                raise ConfigurationError(f"decision.{name}={value} is below 0; give 0 or more")
        for name in ("own", "shared"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"decision.{name}={getattr(self, name)} must be above 0")

    def __call__(self, context: DecisionContext) -> DecisionResult:
        scores = context.scores
        strong = np.argsort(-scores.revenue.sum(axis=0, dtype=float), kind="stable")[: self.count]
        chosen = strong if self.offers is None else np.array([context.offer(name) for name in self.offers])
        names, share = self.shares(context, [scores.offer[m] for m in chosen])
        cost = self.cost or {}
        if unknown := sorted(set(cost) - set(names)):
            raise ConfigurationError(
                f"decision.cost.{unknown[0]} is no channel of the log; there are {', '.join(names)}"
            )
        money = scores.revenue[:, chosen].astype(np.float64)
        costs = np.array([cost.get(name, self.usual) for name in names])
        worth = self.margin * money[:, :, None] * share - costs
        worth = np.where(self.allowed(context, names)[:, None, :], worth, -np.inf)
        best, value = worth.argmax(axis=2), worth.max(axis=2)
        sent = value > 0
        n, m = money.shape
        row, column = np.repeat(np.arange(n), m), np.tile(np.arange(m), n)
        label = np.array([*names, None], dtype=object)[np.where(sent, best, len(names))]
        table = pl.DataFrame(
            {
                "customer_id": scores.customer[row],
                "offer_id": [scores.offer[chosen[k]] for k in column],
                "best_channel": pl.Series(label.ravel().tolist(), dtype=pl.String),
                "cost": np.where(sent, costs[best], 0.0).ravel(),
                "expected_value": np.where(sent, value, 0.0).ravel(),
                **{
                    f"score_{name}": (scores.probability[:, chosen] * share[:, :, c]).ravel()
                    for c, name in enumerate(names)
                },
            }
        )
        counted = table.group_by("offer_id", pl.col("best_channel").fill_null("none")).agg(
            customers=pl.len(), expected_value=pl.col("expected_value").sum()
        )
        counted = counted.sort("offer_id", "best_channel")
        one = {name: float(np.maximum(worth[:, :, c], 0.0).sum()) for c, name in enumerate(names)}
        total = float(table["expected_value"].sum())
        summary = {"decision": "channel", "cutoff": scores.cutoff, "value": total, "one_channel": one}
        said = [
            f"the best channel of each customer: expected margin {total:,.2f} over {m} offers; through one alone "
            + ", ".join(f"{name} {amount:,.2f}" for name, amount in one.items())
        ]
        if self.learned:
            said.append(f"the customers' shares of {', '.join(names)} are the network's, from channels.parquet")
        elif names != [ANY]:
            said.append(f"the customers' shares of {', '.join(names)} are counted from the log's last year")
        else:
            said.append("no purchase of the last year names a channel; map one with data.source.columns.channel")
        return DecisionResult("channel", table, said, counted, summary, picture(counted, names), {"channels": counted})

    def shares(self, context: DecisionContext, offers: Sequence[str]) -> tuple[list[str], np.ndarray]:
        """Channels, and the chance of each given a purchase (N, M, C): counted, or learned by the network."""
        scores = context.scores
        if self.learned:
            if context.shares is None:
                raise ConfigurationError(
                    f"no shares of {scores.cutoff} in channels.parquet beside the scores; score again with a network "
                    "that learned channels, or leave decision.learned out"
                )
            n, k = context.shares.share.shape
            share = np.broadcast_to(context.shares.share[:, None, :], (n, len(offers), k))
            return list(context.shares.channel), share
        if context.past is None:
            raise ConfigurationError("habits of channels need the event log; give log=<folder>")
        return habits(context.past, scores.customer, offers, self.own, self.shared)

    def allowed(self, context: DecisionContext, names: list[str]) -> np.ndarray:
        """(N, C) who may be written to through which channel."""
        known = [] if context.customers is None else context.customers.columns
        masks = [context.reachable(name if f"consent_{name}" in known else None) for name in names]
        return np.stack(masks, axis=1)


def habits(
    past: PurchaseHistory, customer: np.ndarray, offers: Sequence[str], own: float, shared: float
) -> tuple[list[str], np.ndarray]:
    """Channels that purchases of the last year came through, and the chance of each given a purchase: (N, M, C).

    Where no purchase names a channel, all of them came through one called `ANY`.
    """
    row = past.rows(customer)
    known = np.flatnonzero(row >= 0)
    lines = purchases(past, row[known]).filter(pl.col("channel") >= 0)
    codes = lines["channel"].unique().sort()
    if codes.is_empty():
        return [ANY], np.ones((customer.size, len(offers), 1))
    code = codes.search_sorted(lines["channel"]).to_numpy()
    everybody = np.bincount(code, minlength=codes.len())
    place = np.array([past.offers.name.index(name) if name in past.offers.name else -1 for name in offers])
    entries = pl.DataFrame({"item": past.offers.item.astype(np.int32), "offer": past.offers.item_offer})
    sold = lines.with_columns(code=pl.Series(code)).join(entries, on="item").filter(pl.col("offer").is_in(place))
    by_offer = np.zeros((len(past.offers.name) + 1, codes.len()))
    np.add.at(by_offer, (sold["offer"].to_numpy(), sold["code"].to_numpy()), 1.0)
    usual = shrunk(by_offer[place], everybody / everybody.sum(), shared)
    counts = np.zeros((customer.size, codes.len()))
    np.add.at(counts, (known[lines["place"].to_numpy()], code), 1.0)
    share = (counts[:, None, :] + own * usual) / (counts.sum(axis=1) + own)[:, None, None]
    return [past.log.meta["channels"][c] for c in codes], share


def shrunk(count: np.ndarray, usual: np.ndarray, weight: float) -> np.ndarray:
    """Shares (n, C) of counts, with `weight` observations of the usual shares (C,) added.

    >>> shrunk(np.array([[3., 1.]]), np.array([.5, .5]), 4.0)
    array([[0.625, 0.375]])
    """
    shares: np.ndarray = (count + weight * usual) / (count.sum(axis=1, keepdims=True) + weight)
    return shares


def picture(counted: pl.DataFrame, names: list[str]) -> Any:
    def draw(figure: Any) -> None:
        axes = figure.subplots()
        offers = counted["offer_id"].unique(maintain_order=True).to_list()
        left = np.zeros(len(offers))
        for k, name in enumerate([*names, "none"]):
            own = dict(counted.filter(pl.col("best_channel") == name).select("offer_id", "customers").iter_rows())
            width = np.array([own.get(offer, 0) for offer in offers], float)
            colour = "#d9dce1" if name == "none" else COLOURS[k % len(COLOURS)]
            axes.barh([short(offer) for offer in offers], width, left=left, color=colour, label=name)
            left += width
        axes.invert_yaxis()
        axes.set(xlabel="customers", title="The best channel of each customer, or none")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))

    return draw
