"""What a message is worth: the predicted margin, the same with a share for discovery, or the margin that it causes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.decision.history import PurchaseHistory
from propensity.decision.result import DecisionResult
from propensity.decision.table import read
from propensity.errors import ConfigurationError, DataError, InfeasibleError
from propensity.ingest.rule.matching import rows_of
from propensity.scores import Scores

PREDICTED, DISCOVERY, INCREMENTAL = "predicted", "discovery", "incremental"
OBJECTIVES = (PREDICTED, DISCOVERY, INCREMENTAL)
LAPSED = 91  # days without a purchase of the offer after which a customer has lapsed
ANYWAY = 0.5  # probability above which a purchase is more likely than not
SUPPORTED = {  # objectives beside the predicted one of the decisions that choose customers for an offer
    "Audience": (DISCOVERY, INCREMENTAL),
    "CampaignPlan": (DISCOVERY, INCREMENTAL),
    "NextBest": (INCREMENTAL,),  # the value of a message decays by its day, so that discovery has no single price
}
POOLED = ("any", "any treatment")


@dataclass(frozen=True)
class Uplift:
    """What `ab uplift` learned from an experiment.

    Parameters
    ----------
    table : pl.DataFrame
        customer, arm, outcome and `mean`, the uplift of the outcome per customer.
    arms : dict
        arm -> outcome -> cell of uplift.json.
    money : list of str
        Outcomes that are amounts.
    pairs : bool
        Whether the table has one row per customer and offer (`offer_id`), from an experiment of messages.
    at : str, optional
        Cutoff of the pairs.
    """

    table: pl.DataFrame
    arms: dict[str, dict[str, dict[str, Any]]]
    money: list[str]
    pairs: bool = False
    at: str | None = None

    def require_cutoff(self, cutoff: str) -> None:
        """Refuse scores of another cutoff than that of the pairs.

        Raises
        ------
        ConfigurationError
            With both.
        """
        if self.pairs and self.at != cutoff:
            raise ConfigurationError(
                f"the uplift is of pairs at {self.at} and the scores are at {cutoff}; run ab uplift with at={cutoff}"
            )

    def earned(self, campaign: str, offer: str, customer: np.ndarray, margin: float) -> np.ndarray:
        """Margin (N,) that a message of a campaign causes, NaN for customers outside the experiment.

        Parameters
        ----------
        campaign, offer : str
            One of them is the arm; or the only treatment is, of an experiment of messages about several offers.
        customer : np.ndarray
            (N,) ids.
        margin : float
            Share of revenue that is earned, unless the experiment measured `margin` itself.

        Raises
        ------
        InfeasibleError
            If no experiment of the campaign is on file, or its ranking is no better than a random one.
        """
        single = [name for name in self.arms if name not in POOLED]
        arm = next((name for name in (campaign, offer) if name in single), None)
        if arm is None and self.pairs and len(single) == 1:
            arm = single[0]
        if arm is None:
            arms = ", ".join(single)
            raise InfeasibleError(
                f"no experiment of campaign {campaign} is on file (arms: {arms}), so nobody knows what it causes; name "
                "the campaign after its arm, run an experiment (propensity ab split), or give objective=predicted"
            )
        amounts = [name for name in self.arms[arm] if name in self.money]
        outcome = next((name for name in amounts if name == "margin"), amounts[0] if amounts else None)
        if outcome is None:
            raise InfeasibleError(
                f"the experiment of {arm} measured no amount, only {', '.join(self.arms[arm])}; learn uplift of "
                "revenue or margin, or give objective=predicted"
            )
        cell = self.arms[arm][outcome]
        base = self.arms[arm].get(cell.get("multiple_of", outcome), cell)  # amounts that are known need no evidence
        if not (cell["claimed"] or base["claimed"]):
            raise InfeasibleError(
                f"the uplift of {outcome} by {arm} ranks no better than a random order (p {cell['p_adjusted']:.3g}), "
                "so it cannot say whom to write to; ask ab policy about everybody, or give objective=predicted"
            )
        rows = self.table.filter((pl.col("arm") == arm) & (pl.col("outcome") == outcome))
        if self.pairs:
            rows = rows.filter(pl.col("offer_id") == offer)
            if not rows.height:
                raise InfeasibleError(
                    f"no message of the experiment was about {offer}, so nobody knows what one causes; plan offers of "
                    "the experiment, draw messages about this one, or give objective=predicted"
                )
        place = rows_of(pl.Series(customer), rows["customer"])
        if not (place >= 0).any():
            raise InfeasibleError(f"no customer of the scores was in the experiment of {arm}; score its customers")
        uplift = np.where(place >= 0, rows["mean"].to_numpy()[np.maximum(place, 0)], np.nan)
        return uplift if outcome == "margin" else margin * uplift


@dataclass(frozen=True)
class Objective:
    """What a decision makes large.

    Parameters
    ----------
    name : {"predicted", "discovery", "incremental"}
        Predicted margin; the same with a least share of discovery; uplift of an experiment.
    discovery : float
        Least share of the messages to customers who never bought the offer or have lapsed.
    uplift : Uplift, optional
        For `incremental`.
    """

    name: str = PREDICTED
    discovery: float = 0.3
    uplift: Uplift | None = None


def read_uplift(folder: str) -> Uplift:
    """Read what `ab uplift` wrote.

    Raises
    ------
    InfeasibleError
        If the experiment was refused.
    DataError
        If the folder does not hold its files.
    """
    file = Path(folder) / "uplift.json"
    if not file.is_file():
        raise ConfigurationError(f"no uplift.json in {folder}; give uplift=<folder that ab uplift wrote>")
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
        refused, arms, money = result["refused"], result["arms"], result["money"]
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{file} is not what ab uplift writes; run ab uplift again") from None
    if refused:
        raise InfeasibleError(f"the experiment in {folder} was refused: {refused}")
    pairs = file.with_name("pairs.parquet")
    if pairs.is_file():
        return Uplift(read(str(pairs), "uplift"), arms, money, pairs=True, at=result.get("at"))
    table = read(str(file.with_suffix(".parquet")), "uplift")
    if "offer_id" in table.columns:
        raise ConfigurationError(
            f"{folder} has uplift of messages at their own cutoffs; run ab uplift with at=<cutoff>"
        )
    return Uplift(table, arms, money)


def objective_of(
    name: str, discovery: float, uplift: str | None, decision: Mapping[str, Any] | None = None
) -> Objective:
    """The objective of the settings.

    Raises
    ------
    ConfigurationError
        For another name, or a decision that has no objective.
    InfeasibleError
        For `incremental` without an experiment.
    """
    if name not in OBJECTIVES:
        raise ConfigurationError(f"objective={name} does not exist; give one of {', '.join(OBJECTIVES)}")
    require_supported(name, decision or {})
    if name != INCREMENTAL:
        return Objective(name, discovery)
    if uplift is None:
        raise InfeasibleError(
            "no experiment is on file, and without one nobody knows what a message causes; run one (propensity ab "
            "split), learn from it and give uplift=<folder that ab uplift wrote>, or give objective=predicted"
        )
    return Objective(name, discovery, read_uplift(uplift))


def is_discovery(history: PurchaseHistory | None, scores: Scores, offers: list[str]) -> np.ndarray:
    """(N, len(offers)) bool: customers who never bought the offer, or not in the last 91 days.

    Raises
    ------
    ConfigurationError
        Without an event log.
    """
    if history is None:
        raise ConfigurationError("objective=discovery needs the purchases of the event log; give log=<folder>")
    names = tuple(dict.fromkeys(offers))
    recency = history.pairs(history.rows(scores.customer), names, "recency")
    column = [names.index(offer) for offer in offers]
    return ~(recency[:, column] <= LAPSED)


def require_supported(name: str, settings: Mapping[str, Any]) -> None:
    """Refuse another objective than the predicted one for decisions without a choice of customers.

    Raises
    ------
    ConfigurationError
        With the decisions that support it.
    """
    decision = str(settings.get("_target_", "")).rsplit(".", 1)[-1]
    if name != PREDICTED and decision and name not in SUPPORTED.get(decision, ()):
        also = ", decision=campaign and decision=next_best" if name == INCREMENTAL else " and decision=campaign"
        raise ConfigurationError(f"objective={name} is for decision=audience{also}, not {decision}")


def with_objective(result: DecisionResult, objective: Objective) -> DecisionResult:
    """The result with its objective, and with a sentence on what the values mean."""
    summary = result.summary | {"objective": objective.name}
    if objective.name != INCREMENTAL and not {"score", "customer_id"} <= {*result.table.columns}:
        return replace(result, summary=summary)
    if objective.name == INCREMENTAL:
        words = (
            "incremental: customers are chosen by what a message causes, as an experiment shows; scores are predicted"
        )
        return replace(result, summary=summary, sentences=[*result.sentences, words])
    score = result.table["score"].drop_nulls().to_numpy()
    share = float((score > ANYWAY).mean()) if score.size else 0.0
    sentences = [*result.sentences, predicted_words(result.table)]
    return replace(result, summary=summary | {"share_likely_anyway": share}, sentences=sentences)


def predicted_words(table: pl.DataFrame) -> str:
    """How many messages go to customers who are more likely than not to buy without them."""
    score = table["score"].drop_nulls().to_numpy()  # messages about no offer have none
    share, mean = (float((score > ANYWAY).mean()), float(score.mean())) if score.size else (0.0, 0.0)
    return (
        f"predictive: includes purchases that would happen anyway; {share:.1%} of the messages go to customers whose "
        f"probability of buying is above {ANYWAY:g}, and its mean is {mean:.3f}"
    )
