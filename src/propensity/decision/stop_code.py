"""Offers that are no products, such as coupons, fuel, vouchers and deposits, which are no campaigns by default."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import polars as pl

from propensity.decision.history import PurchaseHistory
from propensity.ingest.rule.product import DEFAULT, describes_items, names_fuel, names_no_product

GROUPS = re.compile(r"(?i)categ|kateg|depart|class|klasse|famil|group|gruppe|grupo|type$|^type|tipo|rayon|reparto")
MOST = 0.5  # share of an offer's items above which their descriptions are those of the offer
LISTED = 6  # names in a sentence


def stop_codes(offers: Sequence[str], history: PurchaseHistory | None, names: Sequence[str] | None) -> np.ndarray:
    """Find the offers that are no products by their name or by the descriptions of most of their items.

    Parameters
    ----------
    offers : sequence of str
        (M,) offer ids.
    history : PurchaseHistory or None
        Knows the items of each offer and their attributes.
    names : sequence of str or None
        As `data.source.not_products`: texts, ignoring case, where `default` stands for the built-in words; None for
        these; empty for none.

    Returns
    -------
    np.ndarray
        (M,) bool.

    Examples
    --------
    >>> stop_codes(["FUEL", "Cheese", "Pfand", "COUPON/MISC ITEMS", "Fuel filter"], None, None).tolist()
    [True, False, True, True, False]
    >>> stop_codes(["FUEL", "Cheese"], None, []).tolist(), stop_codes(["FUEL", "Cheese"], None, ["cheese"]).tolist()
    ([False, False], [False, True])
    """
    stopped = _is_no_product(pl.Series("offer", list(offers), dtype=pl.String), names)
    if history is None or (names is not None and not names):
        return stopped
    share = _described_share(history, names)
    return stopped | np.array([share.get(name, 0.0) > MOST for name in offers], dtype=bool)


def _is_no_product(texts: pl.Series, names: Sequence[str] | None) -> np.ndarray:
    """(n,) bool: texts that are none by the rules of an ingestion, or are about fuel."""
    text = pl.col(texts.name)
    rule = names_no_product(text, names)
    if names is None or DEFAULT in names:
        rule |= names_fuel(text)
    return texts.to_frame().select(rule).to_series().to_numpy().astype(bool)


def _described_share(history: PurchaseHistory, names: Sequence[str] | None) -> dict[str, float]:
    """Offer -> share of its items that a column describes as no product."""
    items, offers = history.log.items, history.offers
    found = np.zeros(items.height, dtype=bool)
    for column, kind in items.schema.items():
        if column == "item" or kind != pl.String or not (describes_items(column) or GROUPS.search(column)):
            continue
        distinct = items[column].drop_nulls().unique()
        hits = distinct.filter(pl.Series(_is_no_product(distinct.rename("text"), names)))
        found |= items[column].is_in(hits.implode()).fill_null(False).to_numpy()
    if not found.any():
        return {}
    total = np.bincount(offers.item_offer, minlength=len(offers))
    stopped = np.bincount(offers.item_offer, weights=found[offers.item], minlength=len(offers))
    return dict(zip(offers.name, (stopped / np.maximum(total, 1)).tolist(), strict=True))


def stop_sentence(names: Sequence[str], offers: int) -> str:
    """What was left out, and how to include it.

    Examples
    --------
    >>> stop_sentence(["FUEL"], 30)
    '1 of 30 offers is no product by its name (FUEL) and no campaign by default; decision.not_products=[] includes it'
    """
    listed = ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
    one = len(names) == 1
    verb, own, campaign, it = ("is no product", "its", "no campaign", "it") if one else (
        "are no products", "their", "no campaigns", "them")  # fmt: skip
    return (
        f"{len(names):,} of {offers:,} offers {verb} by {own} name ({listed}) and {campaign} by default; "
        f"decision.not_products=[] includes {it}"
    )
