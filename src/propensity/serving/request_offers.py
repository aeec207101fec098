"""Scores of requests for offers and horizons that are named when they are asked for, by a run at common cutoffs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from propensity.atomic import whole_file
from propensity.audit import append_beside
from propensity.catalogue.model import catalogue_offers, is_catalogue
from propensity.catalogue.moment import cutoffs_of, ending_at
from propensity.catalogue.requests import Requests, read_requests, resolve
from propensity.catalogue.score import Rows, have_scores, request_warnings
from propensity.catalogue.unscored import NOT_ON_SALE, unscored, write_unscored
from propensity.config import ScoreConfig
from propensity.data.event_log import EventLog, to_date
from propensity.data.table_file import write_table
from propensity.errors import ConfigurationError
from propensity.scores import metadata_of
from propensity.serving.new_offers import OfferModel
from propensity.serving.offer_definition import Definitions, named_offers, read_definitions
from propensity.serving.score_offers import model_of_run, scored_table, table_of
from propensity.training.checkpoint import load_trained

NEVER = "0001-01-01"  # no training label: what limits the scores is said once for all cutoffs
Say = Callable[[str], None]


def score_request_offers(cfg: ScoreConfig, out: str | Path, say: Say) -> pl.DataFrame:
    """Score a table of requests for offers or horizons that a run was not trained for, and write the scores.

    Parameters
    ----------
    cfg : ScoreConfig
        Composed configuration, with `run`, `requests`, and `offers`, `horizons` or both.
    out : str or Path
        Parquet file to write.
    say : callable
        Receives warnings.

    Returns
    -------
    polars.DataFrame
        Columns cutoff, customer_id, offer_id, horizon where horizons are set, score, expected_revenue: by cutoff,
        customer and horizon, the best offer first.

    Raises
    ------
    ConfigurationError
        If the run was trained on requests, a setting does not go with requests, or an offer or a horizon cannot be
        scored at one of the cutoffs.
    DataError
        If a customer or an offer is unknown, or a file is damaged.
    """
    assert cfg.run is not None and cfg.requests is not None
    if is_catalogue(cfg.run):
        raise ConfigurationError(
            f"{cfg.run} was trained on a table of requests, and scores its own offers and horizon only; leave out "
            "offers and horizons, or give a run that was trained without data.requests"
        )
    if cfg.reasons:
        raise ConfigurationError("reasons explain scores at one cutoff; leave out reasons or requests")
    if Path(out).is_dir():
        raise ConfigurationError(f"{out} is a folder; give the name of a file, such as {out}/scores.parquet")
    trained = load_trained(cfg.run)
    model, events = model_of_run(cfg.run, trained), trained.task.open_or(cfg.log, cfg.data.verify)
    definitions = None if cfg.offers is None else read_definitions(cfg.offers)
    names = catalogue_offers(events, trained.task).name if definitions is None else tuple(definitions)
    name, table, warnings = str(cfg.requests), read_requests(cfg.requests), list[str]()
    wanted = resolve(table, events, names, name, warnings.append)
    last = str(trained.about["last_label"])
    warnings += request_warnings(events, wanted, trained.task.horizon, last)
    if definitions is not None:
        named_offers(events, definitions, int(wanted.day.max()), warnings.append)
    parts = list(_scored_parts(model, events, wanted, names, definitions, cfg))
    result = pl.concat([frame for _, frame in parts], how="diagonal")
    for warning in warnings:
        say(warning)
    with whole_file(out) as draft:
        write_table(result, draft, metadata_of(events.folder, cfg.run, warnings))
    every = resolve(table, events, names, name, lambda text: None, everybody=True)
    scored = have_scores(every, _rows([asked for asked, _ in parts]))
    others = unscored(events, every, scored, bool(trained.task.registrants), NOT_ON_SALE)
    if sentence := write_unscored(*others, events.customers["customer"], out):
        say(sentence)
    days = f"{to_date(int(wanted.day.min()))} to {to_date(int(wanted.day.max()))}"
    entry = {"model": str(cfg.run), "log": str(events.folder), "fingerprint": events.fingerprint, "cutoff": days}
    append_beside(Path(cfg.run).parent, out, "score", entry | ({} if cfg.offers is None else {"offers": cfg.offers}))
    return result


def _scored_parts(
    model: OfferModel,
    events: EventLog,
    requests: Requests,
    names: tuple[str, ...],
    definitions: Definitions | None,
    cfg: ScoreConfig,
) -> Iterator[tuple[Requests, pl.DataFrame]]:
    """The requests of each cutoff that have a score, and their table."""
    ids, clocks = events.customers["customer"], requests.clocks
    for clock, day in np.unique(np.stack([clocks, requests.day]), axis=1).T.tolist():
        here = np.flatnonzero((requests.day == day) & (clocks == clock))
        scores = scored_table(
            *(model, ending_at(events, clock), to_date(day).isoformat(), NEVER, lambda text: None),
            *(definitions, cfg.horizons, events.customer_id[requests.customer[here]]),
        ).scores
        frame, own = table_of(scores, cfg.horizons), requests.part(here)
        if own.named is not None:
            offsets, offer = own.named
            pairs = pl.DataFrame({"customer_id": ids.gather(np.repeat(own.customer, np.diff(offsets)))})
            pairs = pairs.with_columns(offer_id=pl.Series(names, dtype=pl.String).gather(offer))
            frame = frame.join(pairs, on=pairs.columns, how="semi", maintain_order="left")
        keys = ["customer_id", *(["horizon"] if cfg.horizons is not None else [])]
        frame = frame.with_row_index("place").with_columns(pl.col("place").min().over("customer_id"))
        frame = frame.sort("place", *keys, pl.col("score").neg(), maintain_order=True).drop("place")
        if cfg.top_per_customer is not None:
            frame = frame.filter(pl.int_range(pl.len()).over(keys) < cfg.top_per_customer)
        clock_of = None if requests.clock is None else np.full(frame.height, clock)
        has_score = ids.gather(own.customer).is_in(frame["customer_id"].implode()).to_numpy()
        cutoff = cutoffs_of(np.full(frame.height, day), clock_of).alias("cutoff")
        yield own.take(np.flatnonzero(has_score)), frame.with_columns(cutoff)


def _rows(parts: list[Requests]) -> Rows:
    """Requests with a score, one row for each."""
    day, clock, customer = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("day", "clocks", "customer")
    )
    none = np.zeros(day.size)
    return Rows(day, clock, customer, none.astype(np.int64), none, none)
