"""What a decision may use: the scores of a cutoff, customers, promised contacts and the purchase history."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import polars as pl

from propensity.decision.condition import rows_where
from propensity.decision.history import PurchaseHistory, purchase_history_of
from propensity.errors import ConfigurationError, DataError, InfeasibleError
from propensity.scores import SHARES_FILE, ChannelShares, Scores, load_scores, load_shares

T = TypeVar("T")


class LazyField(Generic[T]):
    """A dataclass field that may be given as a function, which is called when the field is first read.

    A decision thus fails on no table that it does not use.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.attribute = f"_{name}"

    def __get__(self, context: object | None, owner: type | None = None) -> T | None:
        if context is None:
            return None  # the default of the field
        value = getattr(context, self.attribute)
        if callable(value):
            value = value()
            object.__setattr__(context, self.attribute, value)
        result: T | None = value
        return result

    def __set__(self, context: object, value: T | Callable[[], T | None] | None) -> None:
        object.__setattr__(context, self.attribute, value)


@dataclass(frozen=True)
class DecisionContext:
    """What a decision may use besides its settings. All but the scores are optional.

    Parameters
    ----------
    scores : Scores
        Probability and expected revenue of N customers and M offers at one cutoff.
    earlier : tuple[Scores, ...]
        Scores of earlier cutoffs, oldest first.
    customers : pl.DataFrame, optional
        N rows in the order of the scores: attributes for conditions, ``suppressed``, ``consent_<channel>``.
    contacts : pl.DataFrame, optional
        Promised contacts: customer_id (text), day (Date), channel.
    history : PurchaseHistory, optional
        The event log before the cutoff.
    channel_shares : ChannelShares, optional
        The network's shares of channels for the customers of the scores.
    seed : int
        Of every random stream.
    """

    scores: Scores
    earlier: tuple[Scores, ...] = ()
    customers: LazyField[pl.DataFrame] = LazyField()
    contacts: LazyField[pl.DataFrame] = LazyField()
    history: LazyField[PurchaseHistory] = LazyField()
    channel_shares: LazyField[ChannelShares] = LazyField()
    seed: int = 17

    def offer(self, name: str) -> int:
        """Index of an offer.

        Parameters
        ----------
        name : str
            Offer id.

        Returns
        -------
        int
            In [0, M).

        Raises
        ------
        ConfigurationError
            If the offer was not scored.
        """
        if name not in self.scores.offer:
            raise ConfigurationError(unknown_offer(name, self.scores.offer))
        return self.scores.offer.index(name)

    def best_sellers(self, count: int) -> np.ndarray:
        """Indices of the `count` offers with the highest expected revenue, best first."""
        return np.argsort(-self.scores.revenue.sum(axis=0, dtype=float), kind="stable")[:count]

    def where(self, condition: str) -> np.ndarray:
        """Customers for whom an SQL condition over the columns of `customers` holds.

        Parameters
        ----------
        condition : str
            SQL; null counts as false.

        Returns
        -------
        np.ndarray
            (N,) bool.

        Raises
        ------
        ConfigurationError
            If there is no table of customers, or the condition cannot be applied to it.
        """
        if self.customers is None:
            raise ConfigurationError(f"the filter ({condition}) needs a table of customers; give customers=<file>")
        return rows_where(self.customers, condition, "the filter")

    def reachable(self, channel: str | None) -> np.ndarray:
        """Customers who may be contacted: not ``suppressed``, and with consent where a channel is named.

        Parameters
        ----------
        channel : str or None
            Requires ``consent_<channel>``; a customer without a value has not consented.

        Returns
        -------
        np.ndarray
            (N,) bool.

        Raises
        ------
        ConfigurationError
            If customers have no column ``consent_<channel>``.
        """
        mask = np.ones(self.scores.customer.size, bool)
        if self.customers is not None and "suppressed" in self.customers.columns:
            mask &= ~self.where("coalesce(suppressed, false)")
        if channel is None:
            return mask
        column = f"consent_{channel}"
        if self.customers is None or column not in self.customers.columns:
            raise ConfigurationError(f"customers have no column {column}; add it, or leave decision.channel out")
        return mask & self.where(f'"{column}"')

    def require_revenue(self) -> None:
        """InfeasibleError where the scores expect no revenue, as those of a log without prices do."""
        if not self.scores.revenue.sum(dtype=float) > 0:
            raise InfeasibleError(
                f"the scores at {self.scores.cutoff} expect no revenue of any offer, so a contact has no value; "
                "prepare a log with a revenue column, or rank by probability with decision=audience"
            )


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
    """Reads the context of a decision; what is not given is taken from the run that the scores lie in, when it is used.

    Parameters
    ----------
    scores : str
        Parquet of scores.
    cutoff : str or None
        ISO date; None: the last in the file.
    customers, contacts : str or None
        Parquet or CSV; without `customers`, customers.parquet beside the scores.
    log : str or None
        Folder of the event log; None: the one in config.yaml beside the scores.
    seed : int
        Of every random stream.
    say : Callable[[str], None]
        Receives sentences on what is read and what is not there.

    Returns
    -------
    DecisionContext
        With fields that are read when a decision first uses them.

    Raises
    ------
    ConfigurationError
        If a file or the cutoff is not there.
    DataError
        If a file cannot be used.
    """
    all_scores = load_scores(scores)
    if not all_scores:
        raise DataError(f"{scores} holds no rows; score again")
    chosen = all_scores[-1] if cutoff is None else next((s for s in all_scores if s.cutoff == str(cutoff)), None)
    if chosen is None:
        cutoffs = ", ".join(s.cutoff for s in all_scores)
        raise ConfigurationError(f"no scores of {cutoff} in {scores}; it holds {cutoffs}")
    run = Path(scores).parent
    attributes = run / "customers.parquet"

    def customer_table(path: str) -> pl.DataFrame:
        return aligned(read(path, "customers"), chosen.customer, path)

    def history() -> PurchaseHistory | None:
        say(f"reading the purchase history before {chosen.cutoff}")
        return purchase_history_of(run / "config.yaml", log, chosen.cutoff, say)

    default = (lambda: customer_table(str(attributes))) if attributes.is_file() else None
    return DecisionContext(
        scores=chosen,
        earlier=tuple(s for s in all_scores if s.cutoff < chosen.cutoff),
        customers=customer_table(customers) if customers else default,
        contacts=None if contacts is None else promised_contacts(read(contacts, "contacts"), contacts),
        history=history if log is None else history(),
        channel_shares=lambda: load_shares(run / SHARES_FILE, chosen.cutoff, chosen.customer),
        seed=seed,
    )


def read(path: str, setting: str) -> pl.DataFrame:
    """A Parquet or CSV table that a setting names."""
    if not Path(path).is_file():
        raise ConfigurationError(f"no {setting} at {path}; give {setting}=<Parquet or CSV file>")
    try:
        return pl.read_csv(path, try_parse_dates=True) if path.endswith(".csv") else pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} cannot be read ({str(error).splitlines()[0]}); write it again") from None


def aligned(table: pl.DataFrame, customer: np.ndarray, path: str) -> pl.DataFrame:
    """Aligns a table with the customers of the scores.

    Parameters
    ----------
    table : pl.DataFrame
        With a column customer_id, one row per customer.
    customer : np.ndarray
        (N,) ids; compared as text, so that 17 in one file is "17" in another.
    path : str
        Of the table, for error messages.

    Returns
    -------
    pl.DataFrame
        N rows in the order of `customer`; nulls for a customer that the table does not have.

    Raises
    ------
    DataError
        If there is no column customer_id, or a customer has two rows.
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


def promised_contacts(table: pl.DataFrame, path: str) -> pl.DataFrame:
    """Contacts with customer_id as text, day as Date and channel (null where unknown); DataError for other tables."""
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
    """Hash of each customer id, which orders customers of equal value.

    Parameters
    ----------
    customer : np.ndarray
        (N,) ids; 7 and "7" have the same hash.

    Returns
    -------
    np.ndarray
        (N,) uint64.

    Examples
    --------
    >>> tie_break(np.array([7])) == tie_break(np.array(["7"]))
    array([ True])
    """
    digests = b"".join(hashlib.blake2b(str(c).encode(), digest_size=8).digest() for c in customer.tolist())
    return np.frombuffer(digests, np.uint64)


def best_first(value: np.ndarray, customer: np.ndarray) -> np.ndarray:
    """Positions (N,) by descending value; equal values by `tie_break`."""
    return np.lexsort((tie_break(customer), -value))
