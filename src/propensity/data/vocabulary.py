"""Vocabulary of a model: the offers, item attributes and channels known before a day, stored in the checkpoint.

Code 0 means missing or unknown, so a value that first appears later is treated as missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from propensity.data.event_log import EventLog
from propensity.data.item_text import RANK, TextModel, fit_text
from propensity.data.offer import OfferConfig, Offers, build_offers, count_buyers, is_categorical, offers_before
from propensity.errors import DataError
from propensity.kernel.event import PURCHASE

TOKEN_VALUES = 3000  # item attributes with more values are not used as tokens
SHARE_VALUES = 512  # item attributes with more values are not used as offer attributes


@dataclass(frozen=True)
class Vocabulary:
    """Names by position: name k has code k + 1.

    Parameters
    ----------
    offers : tuple of str
        Names of the offers.
    items : dict of str to tuple of str
        Values of each item attribute that is used as a token.
    shares : dict of str to tuple of str
        Values of each item attribute whose shares describe offers.
    channels : tuple of str
        Names of the channels of all events.
    sold_through : tuple of str
        Names of the channels with purchases, a subset of `channels`.
    unit : float
        Revenue that a model counts as 1, in the log's currency; see `EventLog.revenue_unit`.
    text : TextModel, optional
        Maps the texts of an offer's items to a vector, which are its last attributes.
    """

    offers: tuple[str, ...]
    items: dict[str, tuple[str, ...]]
    shares: dict[str, tuple[str, ...]]
    channels: tuple[str, ...]
    sold_through: tuple[str, ...] = ()
    unit: float = 1.0
    text: TextModel | None = None

    @classmethod
    def fit(cls, log: EventLog, config: OfferConfig, day: int, text: Sequence[str] = ()) -> Vocabulary:
        """Collect the names known before a day.

        Parameters
        ----------
        log : EventLog
            The log.
        config : OfferConfig
            Definition of the offers. An offer enters with `min_buyers` buyers over the whole history, so that its code
            has training examples.
        day : int
            Days since 1970-01-01.
        text : sequence of str
            Columns of the items whose text becomes vectors.

        Returns
        -------
        Vocabulary
            Names from events before `day`.
        """
        offers = offers_before(log, config, day)
        frequent = count_buyers(log, offers, day, day - log.first_day) >= max(config.min_buyers, 1)
        past = log.day < day
        present = np.zeros(log.items.height, bool)  # a value without events would only shift the initial weights
        present[log.item[past & (log.item >= 0)]] = True
        items = log.items.filter(pl.Series(present))
        values = {name: _values(items, name) for name in items.columns if name != "item"}
        column = getattr(config, "column", None)  # the offers' own column is redundant with their codes
        return cls(
            offers=tuple(name for name, enough in zip(offers.name, frequent, strict=True) if enough),
            items={name: names for name, names in values.items() if 1 < len(names) <= TOKEN_VALUES},
            shares={n: names for n, names in values.items() if 1 < len(names) <= SHARE_VALUES and n != column},
            channels=_channels(log, past),
            sold_through=_channels(log, past & (log.kind == PURCHASE)),
            unit=log.revenue_unit(day),
            text=fit_text(log.items, text, _of_items(offers, present)) if text else None,
        )

    def state(self) -> dict[str, Any]:
        """Convert to plain containers for a checkpoint.

        Returns
        -------
        dict
            Input of `from_state`.
        """
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Vocabulary:
        """Create a vocabulary from the containers of `state`.

        Parameters
        ----------
        state : dict
            Output of `state`, possibly read from JSON.

        Returns
        -------
        Vocabulary
            Equal to the one that was stored.
        """
        items, shares = ({k: tuple(v) for k, v in state[name].items()} for name in ("items", "shares"))
        channels, sold_through = tuple(state["channels"]), tuple(state.get("sold_through", ()))
        model = _text_model(state.get("text"))
        return cls(tuple(state["offers"]), items, shares, channels, sold_through, float(state.get("unit", 1.0)), model)

    def offer_codes(self, offers: Offers) -> np.ndarray:
        """Encode offers.

        Parameters
        ----------
        offers : Offers
            M offers.

        Returns
        -------
        numpy.ndarray of shape (M,), int64
            Offer codes, 0 for an unknown offer.
        """
        position = {name: k + 1 for k, name in enumerate(self.offers)}
        return np.array([position.get(name, 0) for name in offers.name], np.int64)

    def item_codes(self, log: EventLog) -> np.ndarray:
        """Encode the attributes of every item.

        Parameters
        ----------
        log : EventLog
            Log with I items.

        Returns
        -------
        numpy.ndarray of shape (I + 1, max(A, 1)), int32
            Attribute codes; the last row, for item -1, is 0.
        """
        columns = [_encode(log.items, name, values) for name, values in self.items.items()]
        codes = np.stack(columns or [np.zeros(log.items.height)], axis=1).astype(np.int32)
        return np.vstack([codes, np.zeros((1, codes.shape[1]), np.int32)])

    @property
    def token_sizes(self) -> tuple[int, ...]:
        """Number of codes of each item attribute, including the unknown."""
        return tuple(len(values) + 1 for values in self.items.values()) or (1,)

    def offer_attributes(self, log: EventLog, offers: Offers) -> np.ndarray:
        """Describe offers by their items.

        Parameters
        ----------
        log : EventLog
            Log with the items.
        offers : Offers
            M offers.

        Returns
        -------
        numpy.ndarray of shape (M, A), float32
            The logarithm of 1 + number of items, the share of an offer's items with each attribute value, and the
            vector of its text.
        """
        size = np.bincount(offers.item_offer, minlength=len(offers))
        blocks = [np.log1p(size)[:, None]]
        for name, values in self.shares.items():
            share = np.zeros((len(offers), len(values) + 1))
            np.add.at(share, (offers.item_offer, _encode(log.items, name, values)[offers.item]), 1.0)
            blocks.append(share[:, 1:] / np.maximum(size, 1)[:, None])
        if self.text is not None:
            blocks.append(self.offer_text(log, offers))
        return np.concatenate(blocks, axis=1).astype(np.float32)

    def offer_text(self, log: EventLog, offers: Offers) -> np.ndarray:
        """Map the texts of offers to vectors.

        Parameters
        ----------
        log : EventLog
            Log with the items.
        offers : Offers
            M offers.

        Returns
        -------
        numpy.ndarray of shape (M, R), float32
            Of length 1; 0 for an offer without text. R is 0 for a vocabulary without a text model.
        """
        if self.text is None:
            return np.zeros((len(offers), 0), np.float32)
        return self.text.vectors(log.items, offers)

    @property
    def attribute_size(self) -> int:
        """Number of columns of `offer_attributes`."""
        return 1 + sum(len(values) for values in self.shares.values()) + (0 if self.text is None else RANK)


def _text_model(state: dict[str, Any] | None) -> TextModel | None:
    """The text model of a stored vocabulary."""
    if state is None:
        return None
    if "directions" not in state:  # until 2026-11-30 a model was of items
        raise DataError("the text model of this run is of an earlier format, of items and not of offers; train again")
    return TextModel(tuple(state["columns"]), state["directions"])


def _of_items(offers: Offers, mask: np.ndarray) -> Offers:
    """The offers that have items of a mask (I,) bool, with these alone."""
    entry = mask[offers.item]
    own = build_offers(offers.name, offers.item[entry], offers.item_offer[entry], mask.size)
    return own.take(np.unique(own.item_offer))


def _channels(log: EventLog, mask: np.ndarray) -> tuple[str, ...]:
    """Names of the channels of the events in `mask` (E,) bool, in the log's order."""
    return tuple(log.meta["channels"][k] for k in np.unique(log.channel[mask]) if k >= 0)


def _values(items: pl.DataFrame, name: str) -> tuple[str, ...]:
    """Sorted distinct values of a categorical column, none for other columns."""
    if not is_categorical(items.schema[name]):
        return ()
    return tuple(items[name].cast(pl.String).drop_nulls().unique().sort().to_list())


def _encode(items: pl.DataFrame, name: str, values: tuple[str, ...]) -> np.ndarray:
    """Code of each item's value of a column (I,), 0 where it is missing or unknown."""
    if name not in items.columns:
        return np.zeros(items.height, np.int32)
    codes = (
        items[name]
        .cast(pl.String)
        .replace_strict(list(values), range(1, len(values) + 1), default=0, return_dtype=pl.Int32)
    )
    return codes.fill_null(0).to_numpy()
