"""The scores of a cutoff of a run or a bundle, ready to be explained."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import polars as pl

from propensity.champion.champion import Champion
from propensity.data.batch import Inputs
from propensity.decision.context import unknown_offer
from propensity.errors import ConfigurationError
from propensity.explain.model import reads_other_offers, run_log_odds
from propensity.explain.reasons import SENTENCES, Explainer, Reasons, texts
from propensity.task import CutoffData

REASONS_DTYPE = pl.List(pl.Struct({"feature": pl.String, "contribution": pl.Float64, "sentence": pl.String}))
OTHER = "everything else"  # feature name for the contributions that are not listed


class PairReasons(NamedTuple):
    """Columns of a table of pairs: what they are explained by.

    Attributes
    ----------
    base_value : list of float
        Log-odds of the baseline.
    reasons : list of list of dict
        Feature, contribution and sentence; the last entry is `OTHER`.
    why : list of str
        The sentences as one text.
    """

    base_value: list[float]
    reasons: list[list[dict[str, object]]]
    why: list[str]

    def frame(self) -> pl.DataFrame:
        """The columns as a table."""
        return pl.DataFrame(
            {
                "base_value": pl.Series(self.base_value, dtype=pl.Float64),
                "reasons": pl.Series(self.reasons, dtype=REASONS_DTYPE),
                "why": pl.Series(self.why, dtype=pl.String),
            }
        )

    def add(self, reasons: Reasons, count: int) -> None:
        """Append the reasons of a pair, at most `count` of them."""
        largest = reasons.largest(count)
        entries: list[dict[str, object]] = [
            {"feature": each.title, "contribution": each.contribution, "sentence": each.text} for each in largest
        ]
        self.base_value.append(reasons.base_value)
        self.reasons.append([*entries, {"feature": OTHER, "contribution": reasons.left(count), "sentence": ""}])
        self.why.append(texts(largest))


class OpenedCutoff:
    """The customers and offers of a cutoff, and what explains their scores.

    Parameters
    ----------
    explainer : Explainer
        Of the cutoff.
    rows : ndarray of shape (N,)
        Rows of the customers in the log of `explainer.features`.
    """

    def __init__(self, explainer: Explainer, rows: np.ndarray) -> None:
        self.explainer, self.rows = explainer, rows

    @cached_property
    def row(self) -> dict[str, int]:
        """Row in the log by customer id, as text."""
        ids = self.explainer.features.log.customers["customer"].gather(self.rows).cast(pl.String).to_list()
        return dict(zip(ids, self.rows.tolist(), strict=True))

    @cached_property
    def offer_index(self) -> dict[str, int]:
        """Index by offer id."""
        return {name: m for m, name in enumerate(self.explainer.features.offers.name)}

    def inputs(self, row: int) -> Inputs:
        """Inputs of a customer and all offers.

        Parameters
        ----------
        row : int
            Row of the log.
        """
        return self.explainer.features.inputs(self.explainer.market_stats, np.array([row]))

    def explain(self, customer: str, offer: str) -> Reasons:
        """Explain one score.

        Parameters
        ----------
        customer, offer : str
            Ids.

        Raises
        ------
        ConfigurationError
            If the customer has no purchase before the cutoff, or the offer is not on sale.
        """
        return self.explainer.explain(self.inputs(self.require(customer)), 0, self.require_offer(offer))

    def require(self, customer: str) -> int:
        """Row of a customer; ConfigurationError for one who has no score."""
        if customer not in self.row:
            day = self.explainer.market_stats.cutoff
            raise ConfigurationError(f"customer {customer!r} has no purchase before {day}; give an id of the scores")
        return self.row[customer]

    def require_offer(self, offer: str) -> int:
        """Index of an offer; ConfigurationError for one that has no score."""
        if offer not in self.offer_index:
            raise ConfigurationError(unknown_offer(offer, self.explainer.features.offers.name))
        return self.offer_index[offer]

    def explain_table(self, table: pl.DataFrame, count: int = SENTENCES) -> pl.DataFrame:
        """Reasons for each row of a table with `customer_id` and `offer_id`.

        Parameters
        ----------
        table : DataFrame
            K rows; null where there is no offer.
        count : int
            Number of reasons.

        Returns
        -------
        DataFrame
            K rows: `base_value`, `reasons` and `why`; null in a row without an offer.
        """
        keys = table.select(pl.col("customer_id", "offer_id").cast(pl.String))
        pairs = keys.unique(maintain_order=True).drop_nulls().sort("customer_id", maintain_order=True)
        columns, last, inputs = PairReasons([], [], []), None, None
        for customer, offer in pairs.iter_rows():
            if inputs is None or customer != last:
                inputs, last = self.inputs(self.require(customer)), customer
            columns.add(self.explainer.explain(inputs, 0, self.require_offer(offer)), count)
        joined = keys.join(pairs.hstack(columns.frame()), on=keys.columns, how="left", maintain_order="left")
        return joined.drop(keys.columns)


def of_run(champion: Champion, cutoff_data: CutoffData) -> OpenedCutoff:
    """Explanations of a champion at a cutoff.

    Parameters
    ----------
    champion : Champion
        The champion of a run.
    cutoff_data : CutoffData
        Customers, offers and features.
    """
    features, market_stats, rows = cutoff_data
    log_odds = run_log_odds(champion, features.config.pair.index("purchase_days"))
    others, currency = reads_other_offers(champion), features.log.meta.get("currency")
    return OpenedCutoff(Explainer(log_odds, features, market_stats, others, currency), rows)
