"""Lookalikes of a list of customers: those whose embeddings are nearest to the seeds'."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.data.table_file import own_metadata
from propensity.decision.context import DecisionContext, best_first
from propensity.decision.picture import BLUE, INK, SKY
from propensity.decision.result import DecisionResult
from propensity.decision.table import aligned, read
from propensity.decision.value_file import CUTOFF
from propensity.errors import ConfigurationError, DataError, InfeasibleError
from propensity.ingest.rule.matching import rows_of

BLOCK = 4_096  # customers who are compared with all seeds at a time
BEST = 0.05  # of the customers are seeds where none are given
NO_STATE = "without an embedding"
END = "propensity.end"  # in the metadata of the tables of a pretraining: the first day of which nothing was read


@dataclass
class Lookalike:
    """The customers who are most similar to the seeds, without the seeds.

    Parameters
    ----------
    seeds : str, optional
        Parquet or CSV with customer_id, a row for each seed. None: the twentieth of the customers with the highest
        expected revenue, or with most expected purchases where the scores expect no revenue.
    states : str, optional
        Parquet or CSV with customer_id and columns of numbers: customers.parquet of `propensity pretrain`, or the table
        of `propensity states`. None: the log-odds of the offers in the scores.
    size : int, optional
        Number of customers.
    share : float
        Share of the customers who may be contacted, in (0, 1], where no `size` is given.
    neighbours : int
        Nearest seeds that a customer is compared with.
    channel : str, optional
        Only customers who consent to it. None: those who consent to at least one.
    where : str, optional
        SQL condition on customers.
    ignore_consent : bool
        Contact customers regardless of consent; the result says so.

    Raises
    ------
    ConfigurationError
        If a setting is out of range, the table of seeds is empty, or the embeddings are of a later day than the scores.
    DataError
        If no seed has an embedding.
    InfeasibleError
        If fewer customers may be contacted than are requested.

    Notes
    -----
    Columns are standardised over the customers of the scores. The similarity of a customer is the mean cosine with the
    `neighbours` nearest seeds, so that seeds of several kinds have lookalikes of each kind.
    """

    seeds: str | None = None
    states: str | None = None
    size: int | None = None
    share: float = 0.1
    neighbours: int = 10
    channel: str | None = None
    where: str | None = None
    ignore_consent: bool = False

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise ConfigurationError(f"decision.size={self.size} is nobody; give 1 or more")
        if not 0 < self.share <= 1:
            raise ConfigurationError(f"decision.share={self.share} is no share; give more than 0 and at most 1")
        if self.neighbours < 1:
            raise ConfigurationError(f"decision.neighbours={self.neighbours} is too few; give 1 or more")

    def __call__(self, context: DecisionContext) -> DecisionResult:
        context = context.with_settings(self.ignore_consent, None)
        customer = context.scores.customer
        points, known = self.points(context)
        seed, unknown = (best_customers(context, known), 0) if self.seeds is None else self.seed_rows(customer, known)
        similarity = np.where(known, similarity_to(points, points[seed], self.neighbours), -np.inf)
        excluded = self.exclusions(context, seed, known)
        eligible = ~np.logical_or.reduce(list(excluded.values()))
        ranked = best_first(similarity, customer)
        ranked = ranked[eligible[ranked]]
        size = max(1, round(self.share * ranked.size)) if self.size is None else self.size
        if ranked.size < size:
            reasons = ", ".join(f"{int(mask.sum()):,} {reason}" for reason, mask in excluded.items() if mask.any())
            raise InfeasibleError(
                f"{ranked.size:,} of {customer.size:,} customers may be contacted and {size:,} are requested "
                f"(excluded: {reasons}); lower decision.size or drop an exclusion"
            )
        return self.result(context, similarity, seed, unknown, ranked, size, excluded)

    def points(self, context: DecisionContext) -> tuple[np.ndarray, np.ndarray]:
        """Standardised embeddings of length 1 (N, D), and (N,) bool whether a customer has one."""
        values = log_odds(context.scores.probability) if self.states is None else self.read_states(context)
        known = np.isfinite(values).all(axis=1)
        if not known.any():
            raise DataError(f"{self.states} has no embedding without a gap; write it again")
        mean, deviation = values[known].mean(axis=0), values[known].std(axis=0)
        scaled = np.where(known[:, None], (values - mean) / np.where(deviation > 0, deviation, 1.0), 0.0)
        length = np.linalg.norm(scaled, axis=1, keepdims=True)
        return (scaled / np.where(length > 0, length, 1.0)).astype(np.float32), known

    def read_states(self, context: DecisionContext) -> np.ndarray:
        """The columns of numbers of the customers of the scores (N, D); NaN for those who are not in the table."""
        assert self.states is not None
        every, end = read(self.states, "decision.states"), end_of(self.states)
        if end is not None and end > context.scores.cutoff:  # ISO dates
            raise ConfigurationError(
                f"{self.states} holds embeddings of {end}, after the cutoff {context.scores.cutoff} of the scores; "
                "give those of the cutoff or earlier"
            )
        table = aligned(every, context.scores.customer, self.states)
        numbers = table.drop("customer_id").select(pl.selectors.numeric())
        if numbers.width == 0:
            raise DataError(f"{self.states} has no column of numbers beside customer_id; give a table of embeddings")
        values: np.ndarray = numbers.cast(pl.Float64).to_numpy()
        return values

    def seed_rows(self, customer: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, int]:
        """Places of the seeds among the customers, and how many seeds have no embedding or score."""
        assert self.seeds is not None
        table = read(self.seeds, "decision.seeds")
        if "customer_id" not in table.columns:
            raise DataError(f"{self.seeds} has no column customer_id, only {', '.join(table.columns)}; name it so")
        ids = table["customer_id"].drop_nulls().unique()
        if ids.len() == 0:
            raise ConfigurationError(f"{self.seeds} holds no customer; give seeds to find lookalikes of")
        row = rows_of(ids, pl.Series("customer_id", customer))
        row = np.sort(row[row >= 0])
        row = row[known[row]]
        if row.size == 0:
            raise DataError(
                f"none of the {ids.len():,} customers of {self.seeds} has a score and an embedding, such as "
                f"{ids.sort()[0]}; give customers of the scores"
            )
        return row, ids.len() - row.size

    def exclusions(self, context: DecisionContext, seed: np.ndarray, known: np.ndarray) -> dict[str, np.ndarray]:
        """Masks (N,) of the customers who are not chosen from, by reason."""
        allowed = context.reachable(self.channel)
        left_out = context.gate.permission(self.channel).left_out
        masks = {"seeds": np.isin(np.arange(known.size), seed), NO_STATE: ~known}
        masks |= {reason: mask & ~allowed for reason, mask in left_out.items() if (mask & ~allowed).any()}
        if context.held is not None and context.held.any():
            masks["in a holdout"] = context.held
        if self.where is not None:
            masks[f"not {self.where}"] = ~context.where(self.where)
        return masks

    def result(
        self,
        context: DecisionContext,
        similarity: np.ndarray,
        seed: np.ndarray,
        unknown: int,
        ranked: np.ndarray,
        size: int,
        excluded: dict[str, np.ndarray],
    ) -> DecisionResult:
        """The table of the lookalikes, and what a reader should know."""
        found = ranked[:size]
        table = pl.DataFrame(
            {
                "rank": np.arange(1, size + 1),
                "customer_id": context.scores.customer[found],
                "similarity": similarity[found].astype(np.float32),
            }
        )
        summary = {
            "decision": "lookalike",
            "cutoff": context.scores.cutoff,
            "seeds": int(seed.size),
            "seeds_left_out": unknown,
            "customers": size,
            "eligible": int(ranked.size),
            "consent": context.gate.summary(),
            "excluded": {reason: int(mask.sum()) for reason, mask in excluded.items()},
            "similarity": {"best": float(similarity[found[0]]), "last": float(similarity[found[-1]])},
        }
        left = f"; {unknown:,} more seeds have no score or no embedding" if unknown else ""
        sentences = [
            f"{size:,} of {ranked.size:,} eligible customers are most similar to {seed.size:,} seeds on "
            f"{context.scores.cutoff}{left}; mean cosine with the {min(self.neighbours, seed.size)} nearest seeds "
            f"{similarity[found[0]]:.2f} to {similarity[found[-1]]:.2f}",
            "similarity says nothing of what they will buy; compare them with matched others before you rely on it",
            *context.gate.sentences(),
        ]
        return DecisionResult("lookalike", table, sentences, table, summary, picture(similarity, seed, ranked, size))


def log_odds(probability: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) in float64, of probabilities within 1e-6 of 0 and 1."""
    p = np.clip(probability.astype(np.float64), 1e-6, 1 - 1e-6)
    odds: np.ndarray = np.log(p) - np.log1p(-p)
    return odds


def best_customers(context: DecisionContext, known: np.ndarray) -> np.ndarray:
    """Places of the twentieth of the customers with the highest expected revenue, or with most expected purchases.

    Customers without an embedding, (N,) bool `known`, are no seeds.
    """
    scores = context.scores
    value = (scores.revenue if scores.revenue.any() else scores.probability).sum(axis=1, dtype=float)
    ranked = best_first(value, scores.customer)
    return np.sort(ranked[known[ranked]][: max(1, round(BEST * value.size))])


def end_of(path: str) -> str | None:
    """ISO date of the first day that a table of embeddings knows nothing of; None where the table does not say."""
    if path.endswith(".csv"):
        return None
    metadata = own_metadata(Path(path))
    return metadata.get(END) or metadata.get(CUTOFF)


def similarity_to(points: np.ndarray, seeds: np.ndarray, neighbours: int) -> np.ndarray:
    """Mean cosine of each point with its nearest seeds.

    Parameters
    ----------
    points : (N, D) float32
        Of length 1.
    seeds : (S, D) float32
        Of length 1.
    neighbours : int
        Seeds that count, at most S.

    Returns
    -------
    (N,) float64

    Examples
    --------
    >>> similarity_to(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)[:1], 5).tolist()
    [1.0, 0.0]
    """
    count = min(neighbours, len(seeds))
    out = np.empty(len(points))
    for start in range(0, len(points), BLOCK):
        cosine = points[start : start + BLOCK] @ seeds.T
        out[start : start + BLOCK] = np.partition(cosine, len(seeds) - count, axis=1)[:, -count:].mean(axis=1)
    return out


def picture(similarity: np.ndarray, seed: np.ndarray, ranked: np.ndarray, size: int) -> Callable[[Any], None]:
    """Draws the similarity of the ranked customers, and its distribution."""

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        people = np.arange(1, ranked.size + 1)
        left.plot(people, similarity[ranked], color=BLUE)
        left.fill_between(people[:size], similarity[ranked][:size], color=SKY, alpha=0.5, label="lookalikes")
        left.set(xlabel="customers, most similar first", ylabel="mean cosine", title="Similarity to the seeds")
        left.legend()
        bins = np.linspace(-1, 1, 41)
        right.hist(similarity[ranked], bins, color=SKY, label="eligible customers", density=True)
        right.hist(similarity[seed], bins, color=INK, histtype="step", label="seeds", density=True)
        right.set(xlabel="mean cosine", ylabel="density", title="Distribution")
        right.legend()

    return draw
