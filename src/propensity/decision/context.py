"""What a decision may use: the scores of a cutoff, customers, promised contacts and the purchase history."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import polars as pl

from propensity.data.consent import ConsentRecord, consent_channel, consent_record
from propensity.data.event_log import EventLog, to_day
from propensity.data.score_file import folder_of_scores, run_of_scores, scored_log, settings_file
from propensity.decision.condition import rows_where
from propensity.decision.consent import objectors
from propensity.decision.gate import ConsentGate, log_record
from propensity.decision.history import PurchaseHistory, purchase_history_of
from propensity.decision.objective import Objective
from propensity.decision.stop_code import stop_codes, stop_sentence
from propensity.decision.table import aligned, promised_contacts, read
from propensity.errors import ConfigurationError, DataError, InfeasibleError
from propensity.ingest.provenance import log_folder
from propensity.ingest.rule.matching import require_match, rows_of
from propensity.scores import (
    SHARES_FILE,
    ChannelShares,
    Scores,
    customers_of,
    load_scores,
    load_shares,
)

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
    log_customers : pl.DataFrame, optional
        Attributes and activity of the same customers in the log, for conditions where there is no other table.
    contacts : pl.DataFrame, optional
        Promised contacts: customer_id (text), day (Date), channel.
    history : PurchaseHistory, optional
        The event log before the cutoff.
    channel_shares : ChannelShares, optional
        The network's shares of channels for the customers of the scores.
    seed : int
        Of every random stream.
    log : EventLog, optional
        Holds consents and sent messages; None: the log of the history.
    run_record : ConsentRecord, optional
        What the run's customers.parquet says about the N customers.
    profiling_objectors : int
        Customers with a purchase before the cutoff who are left out because they object to profiling.
    no_consent : str, optional
        Why consents are unknown although the log of the scores may hold some; then nobody may be contacted.
    ignore_consent : bool
        Contact regardless of consent.
    objective : Objective
        What a message is worth.
    held : np.ndarray, optional
        (N,) bool, customers in a holdout, who get no message.
    not_products : sequence of str, optional
        Offers that are no campaigns unless they are named; see `propensity.decision.stop_code.stop_codes`.
    """

    scores: Scores
    earlier: tuple[Scores, ...] = ()
    customers: LazyField[pl.DataFrame] = LazyField()
    log_customers: LazyField[pl.DataFrame] = LazyField()
    contacts: LazyField[pl.DataFrame] = LazyField()
    history: LazyField[PurchaseHistory] = LazyField()
    channel_shares: LazyField[ChannelShares] = LazyField()
    seed: int = 17
    log: EventLog | None = None
    run_record: ConsentRecord | None = None
    profiling_objectors: int = 0
    no_consent: str | None = None
    ignore_consent: bool = False
    objective: Objective = Objective()
    held: np.ndarray | None = None
    not_products: Sequence[str] | None = None

    @property
    def currency(self) -> str | None:
        """Currency of the amounts, None where the log does not name it."""
        return None if self.log is None else self.log.meta.get("currency")

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

    @cached_property
    def stopped(self) -> np.ndarray:
        """(M,) bool: offers that are no products, such as coupons and fuel."""
        return stop_codes(self.scores.offer, self.history, self.not_products)

    def stop_summary(self, named: Sequence[str] | None = None) -> tuple[dict[str, list[str]], list[str]]:
        """Part of the summary of a decision on the offers that are no products, and a sentence where there are any.

        Parameters
        ----------
        named : sequence of str, optional
            Offers that the request names, so that nothing was left out. None: the best-selling ones were chosen.
        """
        names = [self.scores.offer[m] for m in np.flatnonzero(self.stopped)]
        if named is None:
            return {"not_products": names}, [stop_sentence(names, len(self.scores.offer))] if names else []
        names = [name for name in names if name in named]
        sentence = f"{', '.join(names)}: no product by its name, and in the plan because the request names it"
        return {"not_products": []}, [sentence] if names else []

    def best_sellers(self, count: int) -> np.ndarray:
        """Indices of the `count` products with the highest expected revenue, best first.

        Raises
        ------
        InfeasibleError
            If no offer is left.
        """
        if self.stopped.all():
            raise InfeasibleError(
                f"none of the {self.stopped.size} offers is a product by its name; name the offers of the campaigns, "
                "or set decision.not_products=[]"
            )
        best = np.argsort(-self.scores.revenue.sum(axis=0, dtype=float), kind="stable")
        return best[~self.stopped[best]][:count]

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
        table = self.customers if self.customers is not None else self.log_customers
        if table is None:
            raise ConfigurationError(f"the filter ({condition}) needs a table of customers; give customers=<file>")
        return rows_where(table, condition, "the filter")

    def changed(self, **changes: Any) -> DecisionContext:
        """A copy with other fields; `dataclasses.replace` would read those that are read when they are used."""
        other = copy.copy(self)
        for name in ("gate", "stopped"):
            other.__dict__.pop(name, None)
        for name, value in changes.items():
            object.__setattr__(other, name, value)
        return other

    def with_settings(self, ignore_consent: bool, not_products: Sequence[str] | None) -> DecisionContext:
        """The same context, in which consent is ignored or respected, with the offers that are no campaigns."""
        return self.changed(ignore_consent=ignore_consent, not_products=not_products)

    def with_consent(self, ignore: bool) -> DecisionContext:
        """The same context, in which consent is ignored or respected."""
        return self.changed(ignore_consent=ignore)

    @property
    def event_log(self) -> EventLog | None:
        """The log that holds consents and messages."""
        return self.log if self.log is not None or self.history is None else self.history.log

    @cached_property
    def gate(self) -> ConsentGate:
        """What the log, the scores, the table of customers and the run say on who may be contacted."""
        cutoff, customer = self.scores.cutoff, pl.Series("customer_id", self.scores.customer)
        log, carried = self.event_log, self.scores.consents
        records = [] if log is None else [log_record(log, customer, cutoff)]
        records += [] if carried is None else [consent_record(carried, cutoff, from_log=True)]
        records += [] if self.customers is None else [consent_record(self.customers, cutoff, from_log=False)]
        records += [] if self.run_record is None else [self.run_record]
        return ConsentGate(
            *(records, customer.len(), self.ignore_consent, self.no_consent, self.profiling_objectors, log is not None)
        )

    def reachable(self, channel: str | None) -> np.ndarray:
        """Customers who may be contacted; the gate that every list of customers goes through.

        Parameters
        ----------
        channel : str or None
            Channel of the contact; None: one that is chosen later, so that a customer must have consented to at least
            one, where consents are given by channel.

        Returns
        -------
        np.ndarray
            (N,) bool; all where consent is ignored, except those who object to profiling; never a holdout.

        Raises
        ------
        ConfigurationError
            If no consents for the channel are known.
        InfeasibleError
            If the log of the scores is not there, so that no consents are known.
        """
        allowed = self.gate.reachable(channel)
        return allowed if self.held is None else allowed & ~self.held

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
        Parquet of scores, or the folder or pattern of several parts; see `propensity.scores.score_files`.
    cutoff : str or None
        ISO date; None: the last in the file.
    customers, contacts : str or None
        Parquet or CSV; without `customers`, customers.parquet beside the scores, else the customers of the log.
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
    run = folder_of_scores(scores)
    say(f"reading consents and the purchase history before {chosen.cutoff}")
    stored = None if log is not None else scored_log(scores)
    named = stored if stored is not None and (Path(stored) / "meta.json").is_file() else log
    history = purchase_history_of(settings_file(run_of_scores(scores)), named, chosen.cutoff, say)
    events = history.log if history is not None else EventLog.open(named) if named is not None else None
    attributes = run / "customers.parquet"
    path = customers or (str(attributes) if attributes.is_file() else None)
    table = None if path is None else read(path, "customers")
    promised = None if contacts is None else promised_contacts(read(contacts, "contacts"), contacts)
    if promised is not None and contacts is not None:
        known_ids = pl.Series(chosen.customer) if events is None else events.customers["customer"]
        require_match(promised["customer_id"], known_ids, contacts, "the scores" if events is None else "the log")

    def context(chosen: Scores) -> DecisionContext:
        own = None if table is None or path is None else aligned(table, chosen.customer, path)
        of_run = own if customers is None and events is None else None
        return DecisionContext(
            scores=chosen,
            earlier=tuple(s for s in all_scores if s.cutoff < chosen.cutoff),
            customers=own,
            log_customers=None if events is None else partial(customers_of_log, events, history, chosen),
            contacts=promised,
            history=history,
            channel_shares=lambda: load_shares(run / SHARES_FILE, chosen.cutoff, chosen.customer),
            seed=seed,
            log=events,
            run_record=None if of_run is None else consent_record(of_run, chosen.cutoff, from_log=True),
        )

    known = context(chosen)
    folder = None if events is not None or stored is not None else log_folder(run / "config.yaml")
    if folder is not None and not known.gate.known:
        return known.changed(no_consent=no_consents(scores, folder))
    objecting = objectors(known.gate.records, chosen.customer.size)
    if events is not None and history is not None:
        rows = objectors([consent_record(events.customers, chosen.cutoff, from_log=True)], len(events))
        own_rows = rows_of(pl.Series(chosen.customer[objecting]), events.customers["customer"])
        history = replace(history, objectors=np.union1d(np.flatnonzero(rows), own_rows[own_rows >= 0]))
    unscored = 0  # objectors of the log whom the scores leave out
    if events is not None:
        day = to_day(chosen.cutoff)
        rows = events.objectors(day)
        unscored = int((rows_of(events.customers["customer"].gather(rows), pl.Series(chosen.customer)) < 0).sum())
    if objecting.all():
        raise InfeasibleError(f"all {objecting.size} customers of {scores} object to profiling; score others")
    if objecting.any():
        left_out = pl.Series(chosen.customer[objecting])
        all_scores = [customers_of(s, rows_of(pl.Series(s.customer), left_out) < 0) for s in all_scores]
        known = context(customers_of(chosen, ~objecting))
    return known.changed(history=history, profiling_objectors=int(objecting.sum()) + unscored)


def customers_of_log(log: EventLog, history: PurchaseHistory | None, scores: Scores) -> pl.DataFrame:
    """The customers of the scores with their attributes in the log, and what they did before the cutoff.

    Parameters
    ----------
    log : EventLog
        The log that was scored.
    history : PurchaseHistory or None
        Gives columns such as `orders_91` and `recency`.
    scores : Scores
        N customers.

    Returns
    -------
    pl.DataFrame
        N rows. Columns of consents are left out: `propensity.decision.gate.log_record` reads them as of the cutoff.
    """
    row = rows_of(pl.Series(scores.customer), log.customers["customer"])
    known = np.flatnonzero(row >= 0)
    activity = {} if history is None or not known.size else history.customer_features(row[known])
    own = [n for n in log.customers.columns if n not in {"customer", "guest", *activity} and consent_channel(n) is None]
    place = pl.Series(np.where(row >= 0, row, len(log)))
    table = log.customers.select("customer", *own)
    attributes = pl.concat([table, table.clear(1)])[place].drop("customer")
    columns = {}
    for name, values in activity.items():
        if name != "masked":
            column = np.full(row.size, np.nan, np.float32)
            column[known] = values
            columns[name] = pl.Series(name, column).fill_nan(None)
    ids = pl.Series("customer_id", scores.customer).cast(pl.String)
    return pl.concat([ids.to_frame(), attributes, pl.DataFrame(columns)], how="horizontal")


def no_consents(scores: str, folder: str) -> str:
    """Why nobody may be contacted: the log that may hold consents is not there."""
    return (
        f"{scores} comes without consents, because the event log {folder} that the run names is not there; give "
        "log=<folder>, customers=<file with consent or suppressed>, or decision.ignore_consent=true"
    )


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
