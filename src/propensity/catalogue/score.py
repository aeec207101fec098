"""Scores of requests: each customer at a cutoff of his own, every input from events strictly before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy.special import expit

from propensity.atomic import whole_file
from propensity.audit import append_beside
from propensity.catalogue.market import MEMORY
from propensity.catalogue.model import TrainedCatalogue, catalogue_offers, is_catalogue, load_catalogue
from propensity.catalogue.moment import cutoffs_of, ending_at
from propensity.catalogue.pairs import Catalogue
from propensity.catalogue.requests import Requests, all_purchasers, read_requests, resolve
from propensity.catalogue.sample import blocks_of
from propensity.catalogue.unscored import NOT_ON_SALE, NOTHING_SOLD, unscored, write_unscored
from propensity.champion.champion import SERVED, Champion
from propensity.data.consent import words_at
from propensity.data.cutoff import Cutoff, parse_cutoff, scoring_warnings
from propensity.data.event_log import EventLog, to_date
from propensity.data.offer import Offers
from propensity.data.registrant import known_before
from propensity.data.table_file import write_table
from propensity.data.unsubscribe import customers_with_words
from propensity.errors import ConfigurationError, DataError
from propensity.scores import COLUMNS, metadata_of
from propensity.training.checkpoint import Trained, load_trained

PAIRS = 1 << 18  # pairs whose columns are in memory at a time


def score_requests(
    run: str | Path,
    requests: str | Path | None,
    out: str | Path,
    log: str | None = None,
    top_per_customer: int | None = None,
    cutoff: str | None = None,
    say: Callable[[str], None] = lambda text: None,
    verify: bool = True,
) -> pl.DataFrame:
    """Score a table of requests by the model of a run, and write the scores.

    Parameters
    ----------
    run : str or Path
        Folder of a run, trained at common cutoffs or on requests.
    requests : str or Path, optional
        Table with customer_id, cutoff and perhaps offer_id. None: all customers with a purchase before `cutoff`.
    out : str or Path
        Parquet file to write.
    log : str, optional
        Folder of an event log; None for the log of the run.
    top_per_customer : int, optional
        Best offers to keep of each request.
    cutoff : str, optional
        YYYY-MM-DD, if no table of requests is given.
    say : callable
        Receives warnings, and how many requests get no score; those are listed beside the scores.
    verify : bool
        Whether to compare the log with its checksums.

    Returns
    -------
    polars.DataFrame
        Columns cutoff, customer_id, offer_id, score, expected_revenue: by cutoff and customer, the best offer first.

    Raises
    ------
    ConfigurationError
        If the run is missing, or a cutoff is not after the first purchase.
    DataError
        If a customer or an offer is unknown, or a file is damaged.
    """
    if Path(out).is_dir():
        raise ConfigurationError(f"{out} is a folder; give the name of a file, such as {out}/scores.parquet")
    trained = load_catalogue(run) if is_catalogue(run) else load_trained(run)
    table = None if requests is None else read_requests(requests)
    events = trained.task.open_or(log, verify)
    warnings: list[str] = []
    offers = catalogue_offers(events, trained.task)
    names = offers.name
    if table is None:
        wanted = all_purchasers(events, parse_cutoff(events, str(cutoff), trained.task.horizon).day)
    else:
        wanted = resolve(table, events, names, str(requests), warnings.append)
    warnings += request_warnings(events, wanted, trained.task.horizon, trained.about["last_label"])
    rows = rows_of_requests(trained, Path(run), events, offers, wanted, top_per_customer, warnings)
    result = as_table(rows, events, names, wanted.clock is not None)
    every = wanted if table is None else resolve(table, events, names, str(requests), lambda text: None, everybody=True)
    of_common = not isinstance(trained, TrainedCatalogue)
    others = unscored(
        events,
        every,
        have_scores(every, rows),
        not of_common or bool(trained.task.registrants),
        NOT_ON_SALE if of_common else NOTHING_SOLD,
    )
    for warning in warnings:
        say(warning)
    with whole_file(out) as draft:
        write_table(result, draft, metadata_of(events.folder, run, warnings))
    if sentence := write_unscored(*others, events.customers["customer"], out):
        say(sentence)
    days = f"{to_date(int(wanted.day.min()))} to {to_date(int(wanted.day.max()))}"
    entry = {"model": str(run), "log": str(events.folder), "fingerprint": events.fingerprint, "cutoff": days}
    append_beside(Path(run).parent, out, "score", entry)
    return result


def request_warnings(log: EventLog, requests: Requests, horizon: int, end: str) -> list[str]:
    """What limits the use of the scores: of the first cutoff and of the last, each warning once."""
    days = int(requests.day.max()), int(requests.day.min())
    return list(dict.fromkeys(text for day in days for text in scoring_warnings(log, Cutoff(day, horizon), end)))


def rows_of_requests(
    trained: TrainedCatalogue | Trained, run: Path, log: EventLog, offers: Offers, requests: Requests, top: int | None,
    warnings: list[str],
) -> Rows:  # fmt: skip
    """Scores of requests by a run of either kind, by cutoff and customer, of each request the best first.

    Parameters
    ----------
    trained : TrainedCatalogue or Trained
        Model of a run on requests, or at common cutoffs.
    run : Path
        Its folder.
    log, offers : EventLog, Offers
        The log, and its M offers.
    requests : Requests
        R requests.
    top : int, optional
        Best offers to keep of each request.
    warnings : list of str
        Receives what was left out.
    """
    if isinstance(trained, TrainedCatalogue):
        catalogue, asked = catalogue_for(trained, log, offers, requests)
        parts = list(catalogue_rows(trained, catalogue, asked, top))
        if nothing := requests.number - sum(part.requests for part in parts):
            warnings.append(
                f"{nothing} requests get no score, because no offer was sold in the {MEMORY} days before their cutoff; "
                "use earlier cutoffs or a log that reaches to them"
            )
    else:
        parts = list(common_rows(trained, run, log, requests, offers.name, top, warnings))
    none = np.empty(0, np.int64)
    empty = Rows(none, none, none, none, none.astype(float), none.astype(float))
    rows = Rows(*(np.concatenate(each) for each in zip(*(parts or [empty]), strict=True)))
    order = np.lexsort((rows.customer, rows.clock, rows.day))  # stable: the best offer of each request stays first
    return Rows(*(values[order] for values in rows))


def catalogue_for(
    trained: TrainedCatalogue, log: EventLog, offers: Offers, requests: Requests
) -> tuple[Catalogue, Requests]:
    """The catalogue of a log for a model, and the requests as the model reads them.

    Raises
    ------
    DataError
        If the model reads columns of hours, and the log has no times.
    """
    if trained.model.hours and log.time is None:
        raise DataError(
            "the run was trained on requests with times of day, and the log has no times; prepare the log with "
            "data.source.columns.time=<column>, or train on requests at dates"
        )
    if trained.model.hours and requests.clock is None:
        requests = requests._replace(clock=np.zeros(requests.number, np.int64))
    hours = None if requests.clock is None else trained.model.hours
    return Catalogue.of(log, offers, trained.task.catalogue, hours), requests


class Rows(NamedTuple):
    """K scores, of each request the best first."""

    day: np.ndarray  # (K,)
    clock: np.ndarray  # (K,) milliseconds since midnight
    customer: np.ndarray  # (K,) rows of the log
    offer: np.ndarray  # (K,)
    score: np.ndarray  # (K,)
    revenue: np.ndarray  # (K,)

    @property
    def requests(self) -> int:
        """Number of different requests, which stand together."""
        if self.day.size == 0:
            return 0
        change = (np.diff(self.customer) != 0) | (np.diff(self.day) != 0) | (np.diff(self.clock) != 0)
        return int(change.sum()) + 1


def catalogue_rows(
    trained: TrainedCatalogue, catalogue: Catalogue, requests: Requests, top: int | None
) -> Iterator[Rows]:
    """Scores of a run on requests, block by block."""
    model = trained.model
    for here, pairs, asked in blocks_of(catalogue, requests):
        logit, usual = np.empty(pairs.offer.size), np.empty(pairs.offer.size, np.float32)
        for part, rows in parts_of(pairs):
            x = here.columns(part, asked)
            logit[rows], usual[rows] = model.logit(x), here.usual(part, x)
        chosen = best(pairs.owner, logit, pairs.offer, top)
        score, request = expit(logit[chosen]), pairs.request[pairs.owner[chosen]]
        revenue = score * usual[chosen] * model.amount_factor
        yield Rows(
            asked.day[request], asked.clocks[request], asked.customer[request], pairs.offer[chosen], score, revenue
        )


def parts_of(pairs: Any) -> Iterator[tuple[Any, slice]]:
    """Pairs of whole requests, at most about `PAIRS` at a time, and their places."""
    first = 0
    while first < pairs.request.size:
        stop = int(np.searchsorted(pairs.start, pairs.start[first] + PAIRS, side="right")) - 1
        stop = min(max(stop, first + 1), pairs.request.size)
        rows = slice(int(pairs.start[first]), int(pairs.start[stop]))
        yield (
            pairs._replace(
                request=pairs.request[first:stop],
                start=pairs.start[first : stop + 1] - pairs.start[first],
                offer=pairs.offer[rows],
                affinity=pairs.affinity[rows],
                end=pairs.end[first:stop],
            ),
            rows,
        )
        first = stop


def best(owner: np.ndarray, score: np.ndarray, offer: np.ndarray, top: int | None) -> np.ndarray:
    """Places (K,) of the `top` best offers of each owner, in descending score; equal scores by the offer's number.

    Parameters
    ----------
    owner : (P,)
        Ascending numbers.
    score, offer : (P,)
        Of each pair.
    top : int, optional
        None keeps all.
    """
    order = np.lexsort((offer, -score, owner))
    if top is None:
        return order
    sorted_owner = owner[order]
    rank = np.arange(order.size) - np.searchsorted(sorted_owner, sorted_owner)
    return order[rank < top]


def common_rows(
    trained: Trained, run: Path, log: EventLog, requests: Requests, names: tuple[str, ...], top: int | None,
    warnings: list[str],
) -> Iterator[Rows]:  # fmt: skip
    """Scores of a run at common cutoffs: the requests of a day by everything that is known before it.

    Notes
    -----
    They equal those of all customers at that cutoff, because inputs of a customer depend on the cutoff and on the log
    before it, not on who else is scored.
    """
    champion, place = Champion.load(run, trained.model), {name: k for k, name in enumerate(names)}
    strangers = inactive = 0
    clocks = requests.clocks
    ends = {clock: ending_at(log, clock) for clock in np.unique(clocks)[:1].tolist()}
    for clock, day in np.unique(np.stack([clocks, requests.day]), axis=1).T.tolist():
        if clock not in ends:
            ends = {clock: ending_at(log, clock)}
        here = np.flatnonzero((requests.day == day) & (clocks == clock))
        data = trained.task.cutoff_data(ends[clock], Cutoff(day, trained.task.horizon), trained.vocabulary)
        some = np.diff(ends[clock].until(day).offsets) > 0
        if trained.task.registrants:
            some |= known_before(ends[clock], day)
        active = np.flatnonzero(some)  # rows of the log that features have a row for, see `Task.past`
        asked = np.isin(active[data.row], requests.customer[here])
        strangers += int(here.size - asked.sum())
        if not asked.any():
            continue
        scores = champion.predict_both(data._replace(row=data.row[asked]))[0][SERVED]
        offer = np.array([place[name] for name in scores.offer])
        row = active[data.row[asked]]
        if requests.named is None:
            owner, column = np.divmod(np.arange(row.size * offer.size), offer.size)
        else:
            owner, column, missing = named_pairs(requests, here, row, offer)
            inactive += missing
        score, revenue = (
            np.asarray(grid)[owner, column].astype(float) for grid in (scores.probability, scores.revenue)
        )
        chosen = best(owner, score, offer[column], top)
        when = np.full(chosen.size, day), np.full(chosen.size, clock)
        yield Rows(*when, row[owner[chosen]], offer[column[chosen]], score[chosen], revenue[chosen])
    if strangers:
        known = " or a registration" if trained.task.registrants else ""
        warnings.append(
            f"{strangers} requests are of customers without a purchase{known} before their cutoff, and get no score"
        )
    if inactive:
        warnings.append(f"{inactive} requests name an offer that is not on sale at their cutoff, and get no score")


def named_pairs(
    requests: Requests, here: np.ndarray, row: np.ndarray, offer: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Places among rows (N,) and offers (M,) of the pairs that requests name, and how many name another offer."""
    assert requests.named is not None
    offsets, offers = requests.named
    sizes = np.diff(offsets)[here]
    wanted = np.concatenate([offers[offsets[r] : offsets[r + 1]] for r in here])
    customer = np.repeat(requests.customer[here], sizes)
    known = np.isin(customer, row)
    owner = np.searchsorted(row, customer[known])
    order = np.argsort(offer)
    column = order[np.minimum(np.searchsorted(offer[order], wanted[known]), offer.size - 1)]
    active = offer[column] == wanted[known]
    return owner[active], column[active], int((~active).sum())


def as_table(rows: Rows, log: EventLog, names: tuple[str, ...], timed: bool) -> pl.DataFrame:
    """Scores as a table with the columns of every table of scores, and those of the consents of the log.

    Parameters
    ----------
    rows : Rows
        Scores.
    log : EventLog
        The log.
    names : tuple of str
        Names of the M offers.
    timed : bool
        Whether cutoffs have a time of day: then they are moments in the zone of the log.
    """
    day, clock, row, offer, score, revenue = rows
    return (
        pl.DataFrame(
            {
                "cutoff": cutoffs_of(day, clock if timed else None),
                "customer_id": log.customers["customer"].gather(row.astype(np.int64)),
                "offer_id": pl.Series(list(names), dtype=pl.String).gather(offer.astype(np.int64)),
                "score": score.astype(np.float32),
                "expected_revenue": revenue.astype(np.float32),
            }
        )
        .select(*COLUMNS)
        .hstack(consents(log, day, row))
    )


def have_scores(requests: Requests, rows: Rows) -> np.ndarray:
    """Whether each request (R,) is among the scores."""
    names = ("day", "clock", "customer")
    table = pl.DataFrame(dict(zip(names, (requests.day, requests.clocks, requests.customer), strict=True)))
    scored = pl.DataFrame({name: getattr(rows, name) for name in names}).cast(pl.Int64).unique()
    keyed = table.cast(pl.Int64).join(scored.with_columns(scored=True), on=names, how="left", maintain_order="left")
    return keyed["scored"].fill_null(False).to_numpy()


def consents(log: EventLog, day: np.ndarray, row: np.ndarray) -> pl.DataFrame:
    """What customers (K,) said about being contacted as of days (K,), ascending; no column where no log holds it."""
    if day.size == 0:
        return pl.DataFrame()
    days, first = np.unique(day, return_index=True)
    customers, parts = customers_with_words(log), []
    for date, rows in zip(days.tolist(), np.split(row, first[1:]), strict=True):
        own, place = np.unique(rows, return_inverse=True)
        words = words_at(customers[own], to_date(date).isoformat())
        if words is not None:
            parts.append(words[place])
    return pl.concat(parts, how="diagonal") if parts else pl.DataFrame()
