"""What a model knows by name: offers, item attributes, channels. Fitted before a date, kept in the checkpoint.

Code 0 always means "none, or not known then", so a value that turns up later is legal and handled like a missing one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from propensity.data.event_log import EventLog
from propensity.data.offer import OfferConfig, Offers, count_buyers, is_categorical, offers_before
from propensity.kernel.event import PURCHASE

TOKEN_VALUES = 3000  # an item attribute with more values than this says too little per value
SHARE_VALUES = 512  # the same for describing offers by the shares of their items


@dataclass(frozen=True)
class Vocabulary:
    """Names by position: `offers[k]` has code k + 1, as has `items[column][k]`; `shares` describe offers.

    `sold_through` are the channels that purchases came through, a subset of `channels`.
    """

    offers: tuple[str, ...]
    items: dict[str, tuple[str, ...]]
    shares: dict[str, tuple[str, ...]]
    channels: tuple[str, ...]
    sold_through: tuple[str, ...] = ()

    @classmethod
    def fit(cls, log: EventLog, rule: OfferConfig, day: int) -> Vocabulary:
        """Names known before `day`; offers need the rule's buyers over the whole past, so that codes have examples."""
        offers = offers_before(log, rule, day)
        enough = count_buyers(log, offers, day, day - log.first_day) >= max(rule.min_buyers, 1)
        known = log.items.filter(pl.Series(log.item_known < day))
        values = {name: _values(known, name) for name in known.columns if name != "item"}
        column = getattr(rule, "column", None)  # an offer's own column says nothing that its code does not
        past = log.day < day
        return cls(
            offers=tuple(name for name, kept in zip(offers.name, enough, strict=True) if kept),
            items={name: found for name, found in values.items() if 1 < len(found) <= TOKEN_VALUES},
            shares={n: found for n, found in values.items() if 1 < len(found) <= SHARE_VALUES and n != column},
            channels=_channels(log, past),
            sold_through=_channels(log, past & (log.kind == PURCHASE)),
        )

    def state(self) -> dict[str, Any]:
        """Plain containers, for a checkpoint; `Vocabulary.of` reads them back."""
        return asdict(self)

    @classmethod
    def of(cls, state: dict[str, Any]) -> Vocabulary:
        items, shares = ({k: tuple(v) for k, v in state[name].items()} for name in ("items", "shares"))
        return cls(
            tuple(state["offers"]), items, shares, tuple(state["channels"]), tuple(state.get("sold_through", ()))
        )

    def offer_codes(self, offers: Offers) -> np.ndarray:
        """(M,) int64 codes of offers."""
        position = {name: k + 1 for k, name in enumerate(self.offers)}
        return np.array([position.get(name, 0) for name in offers.name], np.int64)

    def item_codes(self, log: EventLog) -> np.ndarray:
        """(I + 1, max(A, 1)) int32 codes of the attributes of every item; the last row, item -1, is none of them."""
        columns = [_encode(log.items, name, found) for name, found in self.items.items()]
        codes = np.stack(columns or [np.zeros(log.items.height)], axis=1).astype(np.int32)
        return np.vstack([codes, np.zeros((1, codes.shape[1]), np.int32)])

    @property
    def token_sizes(self) -> tuple[int, ...]:
        """Number of codes of each item attribute, the unknown included."""
        return tuple(len(found) + 1 for found in self.items.values()) or (1,)

    def offer_attributes(self, log: EventLog, offers: Offers) -> np.ndarray:
        """(M, A) float32: the share of an offer's items with each attribute value, and the log of their number."""
        size = np.bincount(offers.item_offer, minlength=len(offers))
        blocks = [np.log1p(size)[:, None]]
        for name, found in self.shares.items():
            share = np.zeros((len(offers), len(found) + 1))
            np.add.at(share, (offers.item_offer, _encode(log.items, name, found)[offers.item]), 1.0)
            blocks.append(share[:, 1:] / np.maximum(size, 1)[:, None])
        return np.concatenate(blocks, axis=1).astype(np.float32)

    @property
    def attribute_size(self) -> int:
        return 1 + sum(len(found) for found in self.shares.values())


def _channels(log: EventLog, kept: np.ndarray) -> tuple[str, ...]:
    """Names of the channels of some events (E,) bool, in the log's order."""
    return tuple(log.meta["channels"][k] for k in np.unique(log.channel[kept]) if k >= 0)


def _values(items: pl.DataFrame, name: str) -> tuple[str, ...]:
    """Sorted distinct values of a column of names."""
    if not is_categorical(items.schema[name]):
        return ()
    return tuple(items[name].cast(pl.String).drop_nulls().unique().sort().to_list())


def _encode(items: pl.DataFrame, name: str, found: tuple[str, ...]) -> np.ndarray:
    if name not in items.columns:
        return np.zeros(items.height, np.int32)
    codes = (
        items[name]
        .cast(pl.String)
        .replace_strict(list(found), range(1, len(found) + 1), default=0, return_dtype=pl.Int32)
    )
    return codes.fill_null(0).to_numpy()
