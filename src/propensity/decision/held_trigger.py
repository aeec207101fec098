"""Customers of a holdout for whom a trigger would have been due, as rows of a send list."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import numpy as np
import polars as pl

from propensity.data.event_log import to_date, to_day
from propensity.decision.campaign import CampaignPlan
from propensity.decision.context import DecisionContext
from propensity.decision.next_best import NextBest
from propensity.decision.plan.request import Triggered, triggered_value
from propensity.decision.plan.trigger import due_messages, read_triggers


def held_triggers(decision: CampaignPlan | NextBest, inner: DecisionContext, messages: pl.DataFrame) -> pl.DataFrame:
    """One row per message that is due for a customer of the holdout.

    Parameters
    ----------
    decision : CampaignPlan or NextBest
        With its triggers.
    inner : DecisionContext
        In which the holdout are those who may be contacted.
    messages : pl.DataFrame
        What is sent: campaign, customer_id and expected_value.

    Returns
    -------
    pl.DataFrame
        As the messages, with `holdout`: of a fixed message everybody for whom it is due, of a preferred one those whose
        value is at least the lowest of its messages. The day is the one on which it falls due.
    """
    days = decision.trigger_days if isinstance(decision, CampaignPlan) else decision.days
    due, _ = due_messages(inner, read_triggers(decision.triggers), days)
    rows = [_rows(campaign, decision, inner, messages) for campaign in due]
    return pl.concat(rows) if rows else messages.clear()


def _rows(
    campaign: Triggered, decision: CampaignPlan | NextBest, inner: DecisionContext, messages: pl.DataFrame
) -> pl.DataFrame:
    """The customers of one step and day."""
    cost = decision.cost if campaign.cost is None else campaign.cost
    net = triggered_value(inner, campaign, decision.margin) * campaign.weight - cost
    admitted = np.isfinite(net)
    if not campaign.fixed:
        sent = messages.filter(pl.col("campaign") == campaign.label)["expected_value"]
        admitted &= net >= (float(sent.min()) if sent.len() else np.inf)  # type: ignore[arg-type]
    day = to_date(to_day(inner.scores.cutoff) + campaign.days[0])
    message = HeldMessage(campaign.label, campaign.offer or None, campaign.channel, day)
    return held_rows(inner, message, np.flatnonzero(admitted), net)


class HeldMessage(NamedTuple):
    """What customers of a holdout do not get; a trigger's may be about no offer, and a channel may be left open."""

    campaign: str
    offer_id: str | None
    channel: str | None
    day: date


def held_rows(context: DecisionContext, message: HeldMessage, row: np.ndarray, net: np.ndarray) -> pl.DataFrame:
    """Rows of a send list for customers of a holdout.

    Parameters
    ----------
    context : DecisionContext
        With the scores of N customers.
    message : HeldMessage
        What they do not get.
    row : np.ndarray
        (K,) places of the customers among the N.
    net : np.ndarray
        (N,) expected value of the message, in the log's currency.

    Returns
    -------
    pl.DataFrame
        K rows: customer_id, campaign, offer_id, channel, day, score (null without an offer), expected_value, holdout.
    """
    score = np.full(row.size, np.nan)
    if message.offer_id is not None:
        score = context.scores.probability[row, context.offer(message.offer_id)].astype(np.float64)
    return pl.DataFrame(
        {
            "customer_id": pl.Series(context.scores.customer).gather(row).cast(pl.String),
            "campaign": pl.Series([message.campaign] * row.size, dtype=pl.String),
            "offer_id": pl.Series([message.offer_id] * row.size, dtype=pl.String),
            "channel": pl.Series([message.channel] * row.size, dtype=pl.String),
            "day": pl.Series([message.day] * row.size, dtype=pl.Date),
            "score": pl.Series(score).fill_nan(None),
            "expected_value": net[row].astype(np.float64),
            "holdout": pl.Series([True] * row.size, dtype=pl.Boolean),
        }
    )
