"""The channel through which a customer will buy an offer, and whether a message through it pays.

The scores give the probability of a purchase. The probability of each channel given a purchase is the customer's share
of last year's purchases, shrunk towards the offer's, which is shrunk towards that of all customers; or, with `learned`,
the network's estimate, the same for every offer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from propensity.data.consent import channel_key
from propensity.decision.context import DecisionContext
from propensity.decision.history import PurchaseHistory
from propensity.decision.picture import COLOURS, short
from propensity.decision.result import DecisionResult
from propensity.decision.rfm import purchase_lines
from propensity.errors import ConfigurationError

ANY = "any"


@dataclass
class Channel:
    """The best channel of every customer for some offers, or none where no message pays.

    Where consents are given by channel, a channel is used with the customer's consent to it only.

    Parameters
    ----------
    offers : Sequence[str], optional
        Offer ids; None: the `count` with the highest expected revenue.
    count : int
        Offers, where none are named.
    cost : Mapping[str, float], optional
        Money per message by channel.
    default_cost : float
        Money per message through any other channel.
    margin : float
        Share of the revenue that is earned.
    learned : bool
        Use the network's shares in channels.parquet beside the scores instead of counts from the log.
    customer_prior : float
        Purchases that the offer's shares count as, beside the customer's own.
    offer_prior : float
        Purchases that the shares of all customers count as, beside the offer's.
    not_products : Sequence[str], optional
        Offers that are no campaigns unless they are named, as `data.source.not_products`. None: coupons, fuel,
        vouchers, deposits and the like; []: none.
    ignore_consent : bool
        Contact customers regardless of consent; the result says so.

    Raises
    ------
    ConfigurationError
        If a setting is out of range, or the log or the shares are not there.
    InfeasibleError
        If the scores expect no revenue.
    """

    offers: Sequence[str] | None = None
    count: int = 10
    cost: Mapping[str, float] | None = None
    default_cost: float = 0.02
    margin: float = 0.3
    learned: bool = False
    customer_prior: float = 5.0
    offer_prior: float = 50.0
    not_products: Sequence[str] | None = None
    ignore_consent: bool = False

    def __post_init__(self) -> None:
        self.cost = self.cost or {}
        if self.count < 1:
            raise ConfigurationError(f"decision.count={self.count} selects no offer; give 1 or more")
        for name, value in {
            "default_cost": self.default_cost,
            **{f"cost.{k}": v for k, v in self.cost.items()},
        }.items():
            if not value >= 0:
                raise ConfigurationError(f"decision.{name}={value} is below 0; give 0 or more")
        for name in ("customer_prior", "offer_prior"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"decision.{name}={getattr(self, name)} must be above 0")

    def __call__(self, context: DecisionContext) -> DecisionResult:
        context.require_revenue()
        context, scores = context.with_settings(self.ignore_consent, self.not_products), context.scores
        chosen = (
            context.best_sellers(self.count)
            if self.offers is None
            else np.array([context.offer(name) for name in self.offers])
        )
        names, share = self.shares(context, [scores.offer[m] for m in chosen])
        cost = self.cost or {}
        if unknown := sorted(set(cost) - set(names)):
            raise ConfigurationError(
                f"decision.cost.{unknown[0]} is no channel of the log; there are {', '.join(names)}"
            )
        revenue = scores.revenue[:, chosen].astype(np.float64)
        costs = np.array([cost.get(name, self.default_cost) for name in names])
        net = self.margin * revenue[:, :, None] * share - costs
        net = np.where(self.allowed(context, names)[:, None, :], net, -np.inf)
        best, value = net.argmax(axis=2), net.max(axis=2)
        sent = value > 0
        n, m = revenue.shape
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
        counts = table.group_by("offer_id", pl.col("best_channel").fill_null("none")).agg(
            customers=pl.len(), expected_value=pl.col("expected_value").sum()
        )
        counts = counts.sort("offer_id", "best_channel")
        one_channel = {name: float(np.maximum(net[:, :, c], 0.0).sum()) for c, name in enumerate(names)}
        total = float(table["expected_value"].sum())
        summary: dict[str, Any] = {
            "decision": "channel",
            "cutoff": scores.cutoff,
            "value": total,
            "one_channel": one_channel,
        }
        stopped, words = context.stop_summary(self.offers)
        summary |= {"consent": context.gate.summary(), **stopped}
        sentences = [
            f"best channel of {context.gate.contactable()}: expected margin {total:,.2f} "
            f"over {m} offers; through one channel alone "
            + ", ".join(f"{name} {amount:,.2f}" for name, amount in one_channel.items()),
            *words,
            *context.gate.sentences(),
        ]
        if self.learned:
            sentences.append(f"shares of {', '.join(names)}: the network's, from channels.parquet")
        elif names != [ANY]:
            sentences.append(f"shares of {', '.join(names)}: counted from the log's last year")
        else:
            sentences.append("no purchase of the last year names a channel; map one with data.source.columns.channel")
        return DecisionResult(
            "channel", table, sentences, counts, summary, picture(counts, names), {"channels": counts}
        )

    def shares(self, context: DecisionContext, offers: Sequence[str]) -> tuple[list[str], np.ndarray]:
        """Channels, and the probability of each given a purchase (N, M, C): counted, or learned by the network."""
        scores = context.scores
        if self.learned:
            if context.channel_shares is None:
                raise ConfigurationError(
                    f"no shares of {scores.cutoff} in channels.parquet beside the scores; score again with a network "
                    "that learned channels, or leave decision.learned out"
                )
            n, k = context.channel_shares.share.shape
            share = np.broadcast_to(context.channel_shares.share[:, None, :], (n, len(offers), k))
            return list(context.channel_shares.channel), share
        if context.history is None:
            raise ConfigurationError("shares of channels need the event log; give log=<folder>")
        return counted_shares(context.history, scores.customer, offers, self.customer_prior, self.offer_prior)

    def allowed(self, context: DecisionContext, names: list[str]) -> np.ndarray:
        """(N, C) whether a customer may be contacted through a channel."""
        known, nobody = context.gate.channels, np.zeros(context.scores.customer.size, bool)
        if names == [ANY] or not known or context.ignore_consent:
            return np.stack([context.reachable(None)] * len(names), axis=1)
        masks = [context.reachable(name) if channel_key(name) in known else nobody for name in names]
        return np.stack(masks, axis=1)


def counted_shares(
    history: PurchaseHistory,
    customer: np.ndarray,
    offers: Sequence[str],
    customer_prior: float,
    offer_prior: float,
) -> tuple[list[str], np.ndarray]:
    """Shares of channels among the purchases of the last year.

    Parameters
    ----------
    history : PurchaseHistory
        The event log before the cutoff.
    customer : np.ndarray
        (N,) ids.
    offers : Sequence[str]
        M offer ids.
    customer_prior, offer_prior : float
        See `Channel`.

    Returns
    -------
    tuple[list[str], np.ndarray]
        C channels and (N, M, C) the probability of each given a purchase. Where no purchase names a channel, `ANY`
        stands for all of them.
    """
    row = history.rows(customer)
    known = np.flatnonzero(row >= 0)
    lines = purchase_lines(history, row[known]).filter(pl.col("channel") >= 0)
    codes = lines["channel"].unique().sort()
    if codes.is_empty():
        return [ANY], np.ones((customer.size, len(offers), 1))
    code = codes.search_sorted(lines["channel"]).to_numpy()
    total = np.bincount(code, minlength=codes.len())
    place = np.array([history.offers.name.index(name) if name in history.offers.name else -1 for name in offers])
    entries = pl.DataFrame({"item": history.offers.item.astype(np.int32), "offer": history.offers.item_offer})
    sold = lines.with_columns(code=pl.Series(code)).join(entries, on="item").filter(pl.col("offer").is_in(place))
    by_offer = np.zeros((len(history.offers.name) + 1, codes.len()))
    np.add.at(by_offer, (sold["offer"].to_numpy(), sold["code"].to_numpy()), 1.0)
    offer_share = shrunk(by_offer[place], total / total.sum(), offer_prior)
    counts = np.zeros((customer.size, codes.len()))
    np.add.at(counts, (known[lines["place"].to_numpy()], code), 1.0)
    share = (counts[:, None, :] + customer_prior * offer_share) / (counts.sum(axis=1) + customer_prior)[:, None, None]
    return [history.log.meta["channels"][c] for c in codes], share


def shrunk(count: np.ndarray, prior: np.ndarray, weight: float) -> np.ndarray:
    """Shares (n, C) of counts, with `weight` observations of the prior shares (C,) added.

    >>> shrunk(np.array([[3., 1.]]), np.array([.5, .5]), 4.0)
    array([[0.625, 0.375]])
    """
    shares: np.ndarray = (count + weight * prior) / (count.sum(axis=1, keepdims=True) + weight)
    return shares


def picture(counts: pl.DataFrame, names: list[str]) -> Any:
    def draw(figure: Any) -> None:
        axes = figure.subplots()
        offers = counts["offer_id"].unique(maintain_order=True).to_list()
        left = np.zeros(len(offers))
        for k, name in enumerate([*names, "none"]):
            own = dict(counts.filter(pl.col("best_channel") == name).select("offer_id", "customers").iter_rows())
            width = np.array([own.get(offer, 0) for offer in offers], float)
            colour = "#d9dce1" if name == "none" else COLOURS[k % len(COLOURS)]
            axes.barh([short(offer) for offer in offers], width, left=left, color=colour, label=name)
            left += width
        axes.invert_yaxis()
        axes.set(xlabel="customers", title="Customers by best channel")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))

    return draw
