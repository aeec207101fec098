"""What a decision may look at: scores of a send date, who the customers are, what they were promised, their past."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import polars as pl

from propensity.decision.history import PurchaseHistory, purchase_history_of
from propensity.errors import ConfigurationError, DataError
from propensity.scores import SHARES_FILE, ChannelShares, Scores, load_scores, load_shares

T = TypeVar("T")


class Later(Generic[T]):
    """A field that may also be given as a function: it is called when the field is first read, so that a decision
    fails on no table that it does not look at."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.place = f"_{name}"

    def __get__(self, context: object | None, owner: type | None = None) -> T | None:
        if context is None:
            return None  # what a field is where it is not given
        held = getattr(context, self.place)
        if callable(held):
            held = held()
            object.__setattr__(context, self.place, held)
        found: T | None = held
        return found

    def __set__(self, context: object, value: T | Callable[[], T | None] | None) -> None:
        object.__setattr__(context, self.place, value)


@dataclass(frozen=True)
class DecisionContext:
    """scores of one send date, and of the `earlier` ones in the file; customers, one row per customer of the scores in
    their order; contacts: customer_id, day (Date), channel; past: the log before the date;
    shares: the channels of the customers' purchases, as the network has learned them."""

    scores: Scores
    earlier: tuple[Scores, ...] = ()
    customers: Later[pl.DataFrame] = Later()
    contacts: Later[pl.DataFrame] = Later()
    past: Later[PurchaseHistory] = Later()
    shares: Later[ChannelShares] = Later()
    seed: int = 17

    def offer(self, name: str) -> int:
        """Number of an offer; ConfigurationError for one that was not scored."""
        if name not in self.scores.offer:
            raise ConfigurationError(unknown_offer(name, self.scores.offer))
        return self.scores.offer.index(name)

    def where(self, rule: str) -> np.ndarray:
        """(N,) customers for whom an SQL condition over their columns holds."""
        if self.customers is None:
            raise ConfigurationError(f"the filter ({rule}) needs a table of customers; give customers=<file>")
        try:
            kept = self.customers.select(pl.sql_expr(rule).cast(pl.Boolean).fill_null(False)).to_series()
        except pl.exceptions.PolarsError as error:
            reason = str(error).splitlines()[0]
            raise ConfigurationError(f"the filter ({rule}) cannot be applied: {reason}") from None
        mask: np.ndarray = kept.to_numpy()
        return np.broadcast_to(mask, (self.customers.height,))

    def reachable(self, channel: str | None) -> np.ndarray:
        """(N,) customers who may be written to: not `suppressed`, and `consent_<channel>` where a channel is named.

        Both are boolean columns of the customers; a customer without an answer has not consented.
        """
        free = np.ones(self.scores.customer.size, bool)
        if self.customers is not None and "suppressed" in self.customers.columns:
            free &= ~self.where("coalesce(suppressed, false)")
        if channel is None:
            return free
        column = f"consent_{channel}"
        if self.customers is None or column not in self.customers.columns:
            raise ConfigurationError(f"customers have no column {column}; add it, or leave decision.channel out")
        return free & self.where(f'"{column}"')


def unknown_offer(name: str, offers: tuple[str, ...]) -> str:
    import difflib

    near = difflib.get_close_matches(name, offers, 1, 0.0)
    return f"offer {name!r} is not among the {len(offers)} scored; did you mean {near[0]!r}?"


def gather(
    scores: str,
    cutoff: str | None,
    customers: str | None,
    contacts: str | None,
    log: str | None,
    seed: int,
    say: Callable[[str], None],
) -> DecisionContext:
    """Reads what a decision may look at; what is not given is looked for in the run that the scores lie in, when a
    decision asks for it.

    Raises: ConfigurationError for files that are not there, DataError for those that are no use.
    """
    found = load_scores(scores)
    if not found:
        raise DataError(f"{scores} holds no rows; score again")
    chosen = found[-1] if cutoff is None else next((s for s in found if s.cutoff == str(cutoff)), None)
    if chosen is None:
        dates = ", ".join(s.cutoff for s in found)
        raise ConfigurationError(f"no scores of {cutoff} in {scores}; it holds {dates}")
    beside = Path(scores).parent
    known = beside / "customers.parquet"

    def attributes(path: str) -> pl.DataFrame:
        return aligned(read(path, "customers"), chosen.customer, path)

    def past() -> PurchaseHistory | None:
        say(f"reading what is known before {chosen.cutoff}")
        return purchase_history_of(beside / "config.yaml", log, chosen.cutoff, say)

    return DecisionContext(
        scores=chosen,
        earlier=tuple(s for s in found if s.cutoff < chosen.cutoff),
        customers=attributes(customers) if customers else (lambda: attributes(str(known))) if known.is_file() else None,
        contacts=None if contacts is None else promised(read(contacts, "contacts"), contacts),
        past=past if log is None else past(),
        shares=lambda: load_shares(beside / SHARES_FILE, chosen.cutoff, chosen.customer),
        seed=seed,
    )


def read(path: str, what: str) -> pl.DataFrame:
    """A Parquet or CSV table."""
    if not Path(path).is_file():
        raise ConfigurationError(f"no {what} at {path}; give {what}=<Parquet or CSV file>")
    try:
        return pl.read_csv(path, try_parse_dates=True) if path.endswith(".csv") else pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} cannot be read ({str(error).splitlines()[0]}); write it again") from None


def aligned(table: pl.DataFrame, customer: np.ndarray, path: str) -> pl.DataFrame:
    """One row per customer, in the order of the scores; a customer that the table lacks has nulls.

    Ids are compared as text, so that 17 in one file is "17" in another.
    """
    if "customer_id" not in table.columns:
        raise DataError(f"{path} has no column customer_id, only {', '.join(table.columns)}; name it so")
    keyed = table.with_columns(pl.col("customer_id").cast(pl.String))
    if twice := keyed.filter(pl.col("customer_id").is_duplicated())["customer_id"].unique().sort().to_list():
        raise DataError(f"{path} holds customer {twice[0]} twice; keep one row each")
    return (
        pl.DataFrame({"customer_id": customer})
        .select(pl.col("customer_id").cast(pl.String))
        .join(keyed, on="customer_id", how="left", maintain_order="left")
    )


def promised(table: pl.DataFrame, path: str) -> pl.DataFrame:
    """Contacts with customer_id as text, day as Date, channel (null where unknown)."""
    for name in ("customer_id", "day"):
        if name not in table.columns:
            raise DataError(f"{path} has no column {name}; contacts hold customer_id, day and, if known, channel")
    channel = pl.col("channel").cast(pl.String) if "channel" in table.columns else pl.lit(None, pl.String)
    try:
        day = table["day"].str.to_date() if table["day"].dtype == pl.String else table["day"].cast(pl.Date)
    except pl.exceptions.PolarsError:
        raise DataError(f"column day of {path} holds something else than dates; write them as YYYY-MM-DD") from None
    return table.select(pl.col("customer_id").cast(pl.String), day.alias("day"), channel.alias("channel"))


def tie_break(customer: np.ndarray) -> np.ndarray:
    """(N,) uint64 drawn from the ids alone: the order of customers who are otherwise equal.

    >>> lot(np.array([7])) == lot(np.array(["7"]))
    array([ True])
    """
    digests = b"".join(hashlib.blake2b(str(c).encode(), digest_size=8).digest() for c in customer.tolist())
    return np.frombuffer(digests, np.uint64)


def best_first(value: np.ndarray, customer: np.ndarray) -> np.ndarray:
    """Positions by descending value; the equal ones by lot."""
    return np.lexsort((tie_break(customer), -value))
