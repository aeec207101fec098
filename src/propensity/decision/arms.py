"""Arms of an experiment in a decision: holdouts get no message, and every message carries its arm and probability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl

from propensity.decision.context import DecisionContext
from propensity.decision.objective import Objective, with_objective
from propensity.decision.result import DecisionResult, in_currency
from propensity.decision.table import read
from propensity.errors import ConfigurationError, DataError, InfeasibleError
from propensity.ingest.rule.matching import rows_of

UNTREATED = ("global holdout", "holdout", "business as usual", "control")  # arms without a message of the decision
COLUMNS = ("customer_id", "experiment", "arm", "probability")


def decided(
    decision: Callable[[DecisionContext], DecisionResult],
    context: DecisionContext,
    objective: Objective,
    arms: pl.DataFrame | None,
) -> DecisionResult:
    """Make a decision by an objective, in which holdouts get no message.

    Parameters
    ----------
    decision : callable
        From a context to a result.
    context : DecisionContext
        Scores and what else the decision may use.
    objective : Objective
        What a message is worth.
    arms : pl.DataFrame or None
        See `read_arms`.

    Returns
    -------
    DecisionResult
        With its currency, sentences on the objective and, with arms, a column of each message's arm.
    """
    context = in_experiment(context, objective, arms)
    result = with_objective(in_currency(decision(context), context.currency), objective)
    return result if arms is None or context.held is None else with_arms(result, arms, context.held)


def in_experiment(context: DecisionContext, objective: Objective, arms: pl.DataFrame | None) -> DecisionContext:
    """The context of a decision by an objective, in which holdouts get no message.

    Parameters
    ----------
    context, objective, arms
        See `decided`.
    """
    if objective.uplift is not None:
        objective.uplift.require_cutoff(context.scores.cutoff)
    held = None if arms is None else held_out(arms, context.scores.customer)
    return context.changed(objective=objective, held=held)


def read_arms(path: str | None) -> pl.DataFrame | None:
    """Read the table that `ab split` wrote, None without one.

    Raises
    ------
    ConfigurationError
        If a column is missing.
    DataError
        If a customer is in two rows, or a probability is missing, 0 or above 1.
    """
    if path is None:
        return None
    table = read(path, "arms")
    if missing := [name for name in COLUMNS if name not in table.columns]:
        raise ConfigurationError(f"{path} has no column {missing[0]!r}; give a table that ab split wrote")
    table = table.select(COLUMNS).with_columns(pl.col("customer_id").cast(pl.String))
    if table["customer_id"].n_unique() < table.height:
        raise DataError(f"{path} has a customer in several rows; split each customer once")
    p = table["probability"]
    if not p.dtype.is_numeric() or p.null_count() or not p.is_between(0, 1, closed="right").all():
        raise DataError(f"{path} has a probability that is missing, 0 or above 1; split again")
    return table


def held_out(arms: pl.DataFrame, customer: np.ndarray) -> np.ndarray:
    """(N,) bool: customers in an arm without messages, or in no arm.

    Raises
    ------
    InfeasibleError
        If everyone or no one is treated.
    """
    place = rows_of(pl.Series(customer), arms["customer_id"])
    treated = ~arms["arm"].is_in(UNTREATED).to_numpy()
    held = (place < 0) | ~treated[np.maximum(place, 0)]
    if held.all():
        raise InfeasibleError("no customer of the scores is in a treatment arm; split the customers of these scores")
    if not held.any():
        raise InfeasibleError("every customer of the scores is treated, so nothing can be learned; keep a holdout")
    return np.asarray(held)


def with_arms(result: DecisionResult, arms: pl.DataFrame, held: np.ndarray) -> DecisionResult:
    """The result with experiment, arm and probability of every message, and the number of customers held out."""
    if "customer_id" not in result.table.columns:
        raise ConfigurationError(f"arms are for decisions with a list of customers, not {result.name}; leave them out")
    own = arms.rename({"probability": "arm_probability"})
    table = result.table.with_columns(key=pl.col("customer_id").cast(pl.String))
    table = table.join(own, left_on="key", right_on="customer_id", how="left", maintain_order="left").drop("key")
    drawn = pl.col("probability") if "probability" in table.columns else pl.lit(1.0)
    table = table.with_columns(probability=drawn * pl.col("arm_probability")).drop("arm_probability")
    sentence = f"{int(held.sum()):,} of {held.size:,} customers are in a holdout or in no arm and get no message"
    summary = result.summary | {"held_out": int(held.sum())}
    return replace(result, table=table, sentences=[*result.sentences, sentence], summary=summary)
