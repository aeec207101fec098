"""An experiment of messages about several offers at several cutoffs, with what a run knew of each pair before it.

Legend: R messages, N customers and M offers at a cutoff, D numbers of the network's state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl

from propensity.ab.command import refused, write
from propensity.ab.covariate import design_matrix
from propensity.ab.split import HOLDOUT
from propensity.ab.table import Columns, Experiment, RefusedError, experiment_of, read_data
from propensity.ab.uplift import Targets
from propensity.ab.window import covariates, require_window
from propensity.champion.champion import SERVED, Champion
from propensity.config import MessagesConfig
from propensity.data.cutoff import parse_cutoff
from propensity.data.event_log import EventLog, to_date, to_day
from propensity.decision.history import PurchaseHistory
from propensity.errors import ConfigurationError, DataError
from propensity.evaluation.labels import outcomes_in
from propensity.ingest.rule.matching import rows_of
from propensity.training.checkpoint import Trained, load_trained
from propensity.training.predict import states

KEY = ("customer_id", "offer_id", "cutoff")
BOUGHT, VALUE, REVENUE = "bought", "value", "revenue"
OUTCOMES = (BOUGHT, VALUE, REVENUE)
DEFAULT_OUTCOMES = (BOUGHT, VALUE)
LAPSED = 91  # days without a purchase of the offer after which a customer has lapsed
COMPONENTS = 8  # principal components of the network's state
FLOOR = 1e-4  # of a probability whose log-odds are a covariate


class Messages(NamedTuple):
    """An experiment of messages and the pairs that get their uplift."""

    experiment: Experiment
    labels: pl.DataFrame  # (R,) customer_id, offer_id, cutoff
    targets: Targets | None


def messages_from(cfg: MessagesConfig, kind: str, at: str | None, say: Callable[[str], None]) -> Messages:
    """The messages of a command's settings; a refusal leaves `<kind>.json` with the reason.

    Raises
    ------
    ConfigurationError
        Without a run, or with settings of other tables.
    """
    if cfg.run is None or cfg.messages is None:
        raise ConfigurationError("messages need the run that scores them, and at needs messages; give run and messages")
    if cfg.arms is not None or cfg.data.path is not None or cfg.covariates or cfg.before:
        raise ConfigurationError("messages hold arms themselves, and a run gives their covariates; give no other table")
    control = HOLDOUT if cfg.control is None else str(cfg.control)
    columns = Columns(cfg.arm, control, list(cfg.outcomes), shares=dict(cfg.shares))
    try:
        return message_experiment(cfg.run, cfg.messages, columns, cfg.log, at, say)
    except RefusedError as error:
        write(cfg.out, kind, refused(str(error)), pl.DataFrame())
        raise


class AtCutoff(NamedTuple):
    """What is known of pairs before a cutoff.

    Attributes
    ----------
    table : pl.DataFrame
        (N x M,) `KEY` and the covariates.
    state : np.ndarray
        (N x M, D) the network's state of the customer.
    amount : np.ndarray
        (N x M,) expected revenue of a buyer.
    bought, revenue : np.ndarray
        (N x M,) outcomes in the horizon; empty where they are not known.
    """

    table: pl.DataFrame
    state: np.ndarray
    amount: np.ndarray
    bought: np.ndarray
    revenue: np.ndarray


def message_experiment(
    run: str,
    messages: str | pl.DataFrame,
    columns: Columns,
    log: str | None = None,
    at: str | None = None,
    say: Callable[[str], None] = lambda sentence: None,
) -> Messages:
    """Join messages to the scores and states of a run at their cutoffs, and to their outcomes.

    Parameters
    ----------
    run : str
        Folder of the run.
    messages : str or pl.DataFrame
        customer_id, offer_id, cutoff, arm and probability of each message that was drawn, or was not; columns named
        `bought` or `revenue` replace the outcomes of the log.
    columns : Columns
        `arm`, `control`, `outcomes` (of `OUTCOMES`; empty: bought and value) and `probability`.
    log : str, optional
        Folder of the event log; None: the run's.
    at : str, optional
        Cutoff at which all pairs of the same offers are targets.
    say : callable
        Receives a sentence for each cutoff.

    Returns
    -------
    Messages
        `value` is a purchase times the revenue that the run expects of a buyer of this pair: less varies by chance
        than in `revenue`, what was paid.

    Raises
    ------
    ConfigurationError
        For a column, an outcome or a cutoff that does not exist, or `at` before the outcomes have ended.
    DataError
        For a pair that stands twice at a cutoff, or messages of which the run scores none.
    """
    trained = load_trained(run)
    events = trained.task.open() if log is None else EventLog.open(log)
    horizon, table = trained.task.horizon, _read(messages, columns)
    outcomes = _outcomes(columns)
    days = sorted(to_day(str(each)) for each in table["cutoff"].unique().to_list())
    complete = {BOUGHT} <= {*table.columns} and (REVENUE not in outcomes or REVENUE in table.columns)
    if not complete:
        require_window(events, days[0], days[-1] + horizon)
    if at is not None and to_day(at) < days[-1] + horizon:
        raise ConfigurationError(
            f"at={at} is before the outcomes of the last messages end ({to_date(days[-1] + horizon)}); give that day "
            "or a later one"
        )
    offers = sorted(table["offer_id"].unique().to_list())
    champion, parts = Champion.load(run, trained.model), []
    for day in days:
        say(f"pairs at {to_date(day)}")
        parts.append(pairs_at(trained, champion, events, day, offers, known=not complete))
    target = None if at is None else pairs_at(trained, champion, events, to_day(at), offers, known=False)
    return join_messages(table, parts, target, replace(columns, outcomes=outcomes))


def _read(messages: str | pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """The table with ids as text and cutoffs as dates, one row for each pair at a cutoff."""
    table, name = (messages, "messages") if isinstance(messages, pl.DataFrame) else (read_data(messages), messages)
    for column in (*KEY, columns.arm, "probability"):
        if column not in table.columns:
            raise ConfigurationError(
                f"{name} has no column {column!r}; messages have {', '.join(KEY)}, arm, probability"
            )
    if nulls := [each for each in KEY if table[each].null_count()]:
        raise DataError(f"{nulls[0]} is missing in {table[nulls[0]].null_count():,} messages; name each pair")
    table = table.with_columns(pl.col("customer_id", "offer_id").cast(pl.String))
    if table.schema["cutoff"] == pl.String:
        table = table.with_columns(pl.col("cutoff").str.to_date(strict=False))
    if not table.schema["cutoff"].is_temporal() or table["cutoff"].null_count():
        raise DataError(f"column cutoff of {name} holds something else than dates; write them as YYYY-MM-DD")
    table = table.with_columns(pl.col("cutoff").cast(pl.Date))
    count = table.group_by(KEY).agg(pl.len(), arms=pl.col(columns.arm).n_unique()).filter(pl.col("len") > 1).sort(KEY)
    if count.height:
        customer, offer, cutoff, _, arms = count.row(0)
        rule = "is in two arms; assign it to one" if arms > 1 else "stands twice; add it once"
        raise DataError(f"{name}: customer {customer} with {offer} on {cutoff} {rule} ({count.height:,} such pairs)")
    return table


def _outcomes(columns: Columns) -> list[str]:
    wrong = [name for name in columns.outcomes if name not in OUTCOMES]
    if wrong:
        raise ConfigurationError(
            f"outcome {wrong[0]!r} of a message does not exist; give some of {', '.join(OUTCOMES)}"
        )
    names = list(columns.outcomes or DEFAULT_OUTCOMES)
    return [BOUGHT, *names] if VALUE in names and BOUGHT not in names else names


def pairs_at(
    trained: Trained, champion: Champion, log: EventLog, day: int, offers: Sequence[str], known: bool
) -> AtCutoff:
    """All pairs of some offers at a cutoff.

    Parameters
    ----------
    trained, champion : Trained, Champion
        Of the run.
    log : EventLog
        The log; covariates read events before `day` only.
    day : int
        Days since 1970-01-01.
    offers : sequence of str
        Offers; those that the run does not score at the cutoff are left out.
    known : bool
        Whether the log has the outcomes.

    Returns
    -------
    AtCutoff
        Sorted by customer, then offer as in the scores.
    """
    date = parse_cutoff(log, str(to_date(day)), trained.task.horizon)
    cutoff_data = trained.task.cutoff_data(log, date, trained.vocabulary)
    scores = champion.predict_both(cutoff_data)[0][SERVED]
    column = [m for m, name in enumerate(scores.offer) if name in set(offers)]
    names = [scores.offer[m] for m in column]
    n, m = scores.customer.size, len(column)
    p, expected = scores.probability[:, column].astype(np.float64), scores.revenue[:, column].astype(np.float64)
    row = rows_of(pl.Series(scores.customer), log.customers["customer"])
    recency = PurchaseHistory(log, trained.task.offer, day, trained.task.horizon).pairs(row, tuple(names), "recency")
    state = states(trained.model, cutoff_data).drop("customer_id").to_numpy().astype(np.float64)
    windows = {name: np.repeat(np.log1p(np.maximum(each[row], 0)), m) for name, each in covariates(log, day).items()}
    table = pl.DataFrame(
        {
            "customer_id": pl.Series(scores.customer).cast(pl.String).gather(np.repeat(np.arange(n), m)),
            "offer_id": pl.Series(names * n, dtype=pl.String),
        }
        | pair_covariates(p.ravel(), recency.ravel().astype(np.float64))
        | windows
    ).with_columns(cutoff=pl.lit(to_date(day)))
    bought, revenue = np.zeros(0), np.zeros(0)
    if known:
        outcomes = outcomes_in(log, cutoff_data, cutoff_data.row)
        bought = (np.asarray(outcomes.bought)[:, column] > 0).astype(np.float64).ravel()
        revenue = np.asarray(outcomes.revenue)[:, column].astype(np.float64).ravel()
    amount = (expected / np.maximum(p, FLOOR)).ravel()
    return AtCutoff(table, np.repeat(state, m, axis=0), amount, bought, revenue)


def pair_covariates(p: np.ndarray, recency: np.ndarray) -> dict[str, np.ndarray]:
    """Covariates of pairs by their probability of a purchase (R,) and days since the last one (R,), NaN for never.

    Notes
    -----
    Where a message adds a constant to the log-odds it adds about p (1 - p) times it to the probability, so that product
    is a covariate, also within each state of the pair.
    """
    p = np.clip(p, FLOOR, 1 - FLOOR)
    never, active = np.isnan(recency), recency <= LAPSED
    spread, lapsed = p * (1 - p), ~(never | active)
    return {
        "score": p,
        "log_odds": np.log(p / (1 - p)),
        "spread": spread,
        "never_bought": never.astype(np.float64),
        "lapsed": lapsed.astype(np.float64),
        "likely": (p > 0.5).astype(np.float64),
        "spread_never_bought": spread * never,
        "spread_lapsed": spread * lapsed,
        "spread_likely": spread * (p > 0.5),
        "recency_pair": np.log1p(np.where(never, 364.0, recency)),
    }


def join_messages(
    table: pl.DataFrame, parts: Sequence[AtCutoff], target: AtCutoff | None, columns: Columns
) -> Messages:
    """Join messages to the pairs of their cutoffs.

    Parameters
    ----------
    table : pl.DataFrame
        Messages with unique `KEY`, ids as text and cutoffs as dates.
    parts : sequence of AtCutoff
        One for each cutoff.
    target : AtCutoff, optional
        Pairs that get their uplift.
    columns : Columns
        `arm`, `control` and at least one of `outcomes`.
    """
    joined, place = _joined(table, parts)
    return _assembled(joined, place, parts, target, columns, table.height - joined.height)


def _joined(table: pl.DataFrame, parts: Sequence[AtCutoff]) -> tuple[pl.DataFrame, np.ndarray]:
    """Messages with the covariates of their pairs, sorted, and the place of each among all pairs."""
    known = pl.concat([part.table for part in parts]).with_row_index("place")
    own = [name for name in known.columns if name in table.columns and name not in KEY]
    joined = table.join(known.drop(own), on=list(KEY), how="inner").sort(KEY)
    if not joined.height:
        raise DataError("the run scores none of the messages; give customers and offers as in its scores")
    return joined, joined["place"].to_numpy()


def _assembled(
    joined: pl.DataFrame,
    place: np.ndarray,
    parts: Sequence[AtCutoff],
    target: AtCutoff | None,
    columns: Columns,
    missing: int,
) -> Messages:
    """The experiment of the joined messages, and its targets, with covariates on one scale."""
    names = [name for name in parts[0].table.columns if name not in KEY] + ["offer_id"]
    tables, states_ = [joined.select(names)], [np.concatenate([part.state for part in parts])[place]]
    if target is not None:
        tables.append(target.table.select(names))
        states_.append(target.state)
    x, covariate_names = design_matrix(pl.concat(tables).hstack(_components(np.concatenate(states_), len(joined))))
    experiment = _experiment(joined, place, parts, columns, missing)
    experiment = replace(experiment, x=x[: joined.height], names=covariate_names)
    if target is None:
        return Messages(experiment, joined.select(KEY), None)
    code = pl.DataFrame({"customer_id": joined["customer_id"], "unit": experiment.unit}).unique()
    unit = target.table.join(code, on="customer_id", how="left", maintain_order="left")["unit"].fill_null(-1)
    labels = target.table.select(pl.col("customer_id").alias("customer"), "offer_id", "cutoff")
    amount = dict.fromkeys(experiment.multiple, target.amount)
    return Messages(experiment, joined.select(KEY), Targets(labels, x[joined.height :], unit.to_numpy(), amount))


def _experiment(
    joined: pl.DataFrame, place: np.ndarray, parts: Sequence[AtCutoff], columns: Columns, missing: int
) -> Experiment:
    """Arms, probabilities and outcomes, one row for each message, without covariates."""
    amount = np.concatenate([part.amount for part in parts])[place]
    own = [name for name in (BOUGHT, REVENUE) if name in joined.columns]
    found = {BOUGHT: [part.bought for part in parts], REVENUE: [part.revenue for part in parts]}
    values = {name: np.concatenate(each)[place] for name, each in found.items() if name not in own and each[0].size}
    table = joined.select(columns.arm, "probability", *own).with_columns(**{k: pl.Series(v) for k, v in values.items()})
    multiple = VALUE in columns.outcomes
    wanted = [name for name in columns.outcomes if name != VALUE]
    single = replace(columns, outcomes=wanted, covariates=(), before=(), customer=None, probability="probability")
    experiment = experiment_of(table, replace(single, experiment=None, name=None))
    outcomes = experiment.outcomes | ({VALUE: experiment.outcomes[BOUGHT] * amount} if multiple else {})
    unit = np.unique(joined["customer_id"].to_numpy(), return_inverse=True)[1].astype(np.int64)
    note = [f"{missing:,} messages are of pairs that the run does not score at their cutoff; they are left out"]
    return replace(
        experiment,
        outcomes={name: outcomes[name] for name in columns.outcomes},
        multiple={VALUE: (BOUGHT, amount)} if multiple else {},
        unit=unit,
        notes=[*experiment.notes, *(note if missing else [])],
    )


def _components(state: np.ndarray, fitted: int) -> pl.DataFrame:
    """Principal components of the network's state (R, D), whose axes follow from the first `fitted` rows."""
    centred = state - state[:fitted].mean(axis=0)
    values, vectors = np.linalg.eigh(centred[:fitted].T @ centred[:fitted])
    largest = np.argsort(-values)[: min(COMPONENTS, values.size)]
    sign = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(values.size)])
    return pl.DataFrame(centred @ (vectors * sign)[:, largest], [f"state_{k}" for k in range(largest.size)])
