"""A table of scores of offers or horizons that are named when it is asked for, from a run or a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.atomic import whole_file
from propensity.audit import append_beside
from propensity.champion.champion import SERVED, Champion
from propensity.config import ScoreConfig
from propensity.data.batch import Inputs
from propensity.data.cutoff import parse_cutoff, scoring_warnings
from propensity.data.event_log import EventLog, to_day
from propensity.data.table_file import write_table
from propensity.errors import ConfigurationError
from propensity.scores import COLUMNS, LOG, Scores, with_consents
from propensity.serving.bundle import Bundle, open_bundle
from propensity.serving.horizon import Prediction, check_horizons, score_horizons
from propensity.serving.new_offers import SAMPLE, Market, OfferModel, score_new_offers
from propensity.serving.not_scored import write_not_scored
from propensity.serving.offer_definition import Definitions, named_offers, read_definitions
from propensity.training.checkpoint import Trained, load_trained

Say = Callable[[str], None]


def model_of_run(run: str | Path, trained: Trained) -> OfferModel:
    """The champion of a run, as what scores offers."""
    champion, pair = Champion.load(run, trained.model), trained.task.feature.pair

    def from_inputs(inputs: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        return champion.score(Inputs(**inputs), pair)

    return OfferModel(trained.task, trained.vocabulary, from_inputs, SERVED)


def model_of_bundle(bundle: Bundle) -> OfferModel:
    """The champion of a bundle, as what scores offers."""
    return OfferModel(bundle.task, bundle.vocabulary, bundle.pair_scorer(), bundle.champion)


def score_table(
    model: OfferModel,
    events: EventLog,
    cutoff: str,
    last_label: str,
    say: Say,
    definitions: Definitions | None = None,
    horizons: Sequence[int] | None = None,
) -> dict[int, Scores]:
    """Scores of every customer with a purchase before a cutoff.

    Parameters
    ----------
    model : OfferModel
        A trained run or a bundle.
    events : EventLog
        The log that is scored.
    cutoff : str
        First day of the horizon, YYYY-MM-DD.
    last_label : str
        ISO date that no training label reached.
    say : callable
        Receives warnings: a stale log, an in-sample cutoff, ids that are not in the log.
    definitions : mapping of str to str or sequence, optional
        Filter or item ids of each offer, see `named_offers`; None for the offers listed at the cutoff.
    horizons : sequence of int, optional
        Days; None for the horizon that the model was trained for.

    Returns
    -------
    dict of int to Scores
        By horizon, ascending, with the consents of the customers.
    """
    date = parse_cutoff(events, cutoff, model.task.horizon)
    for caution in scoring_warnings(events, date, last_label):
        say(caution)
    offers = None if definitions is None else named_offers(events, definitions, date.day, say)
    market = Market(model, model.task.past(events, date.day), date, None if offers is None else SAMPLE)
    if horizons is not None:
        check_horizons(horizons, market)
    if offers is None:
        prediction, names = Prediction(*market.trained_scores(date, market.rows)), market.trained.name
    else:
        prediction, names = Prediction(*score_new_offers(market, offers), market.past_of(offers)), offers.name
    by_horizon = {date.horizon: prediction[:2]}
    if horizons is not None:
        by_horizon = score_horizons(market, horizons, prediction, offers is not None)
    ids = market.past.customer_id[market.rows]
    return {
        horizon: with_consents(Scores(ids, names, *values, str(date), model.name), market.past, market.rows)
        for horizon, values in by_horizon.items()
    }


def table_of(by_horizon: Mapping[int, Scores], horizons: Sequence[int] | None) -> pl.DataFrame:
    """The scores as one table, with a column `horizon` after the cutoff if horizons were asked for."""
    frames = [scores.frame() for scores in by_horizon.values()]
    if horizons is None:
        return frames[0]
    parts = [frame.with_columns(horizon=pl.lit(days, pl.Int32)) for days, frame in zip(by_horizon, frames, strict=True)]
    return pl.concat(parts).select("cutoff", "customer_id", "offer_id", "horizon", pl.exclude(*COLUMNS[:3], "horizon"))


def score_offers(cfg: ScoreConfig, out: str | Path, say: Say) -> Scores:
    """`score_table` with the settings of conf/score.yaml; writes the table.

    Parameters
    ----------
    cfg : ScoreConfig
        Composed configuration, with `offers`, `horizons` or both, and either `run` or `bundle`.
    out : str or Path
        Parquet file to write.
    say : callable
        Receives warnings.

    Returns
    -------
    Scores
        The scores that were written; of several horizons those of the longest.

    Raises
    ------
    ConfigurationError
        If a setting does not go with `offers` or `horizons`, or an offer cannot be scored.
    """
    asked = "offers" if cfg.offers is not None else "horizons"
    if unused := [name for name in ("top", "top_per_customer", "reasons") if getattr(cfg, name)]:
        raise ConfigurationError(f"{unused[0]} does not go with {asked}; leave one of them out")
    if Path(out).is_dir():
        raise ConfigurationError(f"{out} is a folder; give the name of a file, such as {out}/scores.parquet")
    definitions = None if cfg.offers is None else read_definitions(cfg.offers)
    entry: dict[str, Any] = {} if cfg.offers is None else {"offers": str(cfg.offers)}
    if cfg.run is not None:
        trained = load_trained(cfg.run)
        model, last, place = model_of_run(cfg.run, trained), str(trained.about["last_label"]), Path(cfg.run)
        events = model.task.open_or(cfg.log, cfg.data.verify)
    else:
        assert cfg.bundle is not None
        bundle = open_bundle(cfg.bundle, cfg.digest)
        model, last, place = model_of_bundle(bundle), str(bundle.manifest["last_label"]), Path(cfg.bundle).resolve()
        entry["digest"] = bundle.digest
        events = model.task.open_or(cfg.log, cfg.data.verify)
        bundle.cutoff(events, str(cfg.cutoff))
    scores = score_table(model, events, str(cfg.cutoff), last, say, definitions, cfg.horizons)
    with whole_file(out) as draft:
        metadata = {} if events.folder is None else {LOG: str(events.folder.resolve())}
        write_table(table_of(scores, cfg.horizons), draft, metadata or None)
    day = to_day(str(cfg.cutoff))
    if sentence := write_not_scored(events, day, bool(model.task.registrants), Path(out)):
        say(sentence)
    entry |= {"model": str(place), "log": str(events.folder), "fingerprint": events.fingerprint}
    append_beside(place.parent, out, "score", entry | {"cutoff": str(cfg.cutoff)})
    return scores[max(scores)]
