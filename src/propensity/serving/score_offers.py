"""A table of scores of offers or horizons that are named when it is asked for, from a run or a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.atomic import whole_file
from propensity.audit import append_beside
from propensity.champion.champion import SERVED, Champion
from propensity.config import ScoreConfig
from propensity.data.batch import Inputs
from propensity.data.cutoff import parse_cutoff, scoring_warnings
from propensity.data.event_log import EventLog, to_day
from propensity.data.offer import Offers
from propensity.data.table_file import write_table
from propensity.errors import ConfigurationError
from propensity.explain.coalition import LogOdds
from propensity.explain.model import reads_other_offers, run_log_odds
from propensity.explain.new_offer import NewOfferExplainer
from propensity.explain.opened import OpenedCutoff
from propensity.scores import COLUMNS, Scores, metadata_of, with_consents
from propensity.serving.batch import BatchConfig
from propensity.serving.bundle import Bundle, open_bundle
from propensity.serving.explain import bundle_log_odds
from propensity.serving.horizon import Prediction, check_horizons, score_horizons
from propensity.serving.new_offers import SAMPLE, TOGETHER, Market, OfferModel, PreparedOffers, score_new_offers
from propensity.serving.not_scored import write_not_scored
from propensity.serving.offer_definition import Definitions, named_offers, read_definitions
from propensity.serving.top_k import TopK
from propensity.training.checkpoint import Trained, load_trained

Say = Callable[[str], None]


def model_of_run(run: str | Path, trained: Trained) -> OfferModel:
    """The champion of a run, as what scores offers."""
    champion, pair = Champion.load(run, trained.model), trained.task.feature.pair

    def from_inputs(inputs: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        return champion.score(Inputs(**inputs), pair)

    def explained() -> tuple[LogOdds, bool]:
        return run_log_odds(champion, pair.index("purchase_days")), reads_other_offers(champion)

    return OfferModel(trained.task, trained.vocabulary, from_inputs, SERVED, explained)


def model_of_bundle(bundle: Bundle) -> OfferModel:
    """The champion of a bundle, as what scores offers."""
    return OfferModel(bundle.task, bundle.vocabulary, bundle.pair_scorer(), bundle.champion, explanation_model(bundle))


def explanation_model(bundle: Bundle, session: Any = None) -> Callable[[], tuple[LogOdds, bool]]:
    """What reasons of a bundle are computed from, see `OfferModel`; its session is opened where there is none."""

    def explained() -> tuple[LogOdds, bool]:
        return bundle_log_odds(session or bundle.session()), "frequency" in bundle.candidates

    return explained


def explainer_of(prepared: PreparedOffers) -> NewOfferExplainer:
    """What explains scores of new offers.

    Parameters
    ----------
    prepared : PreparedOffers
        The offers, of a model that gives reasons.
    """
    assert prepared.model.explained is not None
    log_odds, others = prepared.model.explained()
    features, level = prepared.features, prepared.level
    currency = features.log.meta.get("currency")
    return NewOfferExplainer(log_odds, features, prepared.stats, others, level.shift, currency)


class Table(NamedTuple):
    """Scores by horizon, ascending, and what they were computed from: a market, and its new offers if it has any."""

    scores: dict[int, Scores]
    market: Market
    offers: Offers | None


def scored_table(
    model: OfferModel,
    events: EventLog,
    cutoff: str,
    last_label: str,
    say: Say,
    definitions: Definitions | None = None,
    horizons: Sequence[int] | None = None,
    customers: np.ndarray | None = None,
) -> Table:
    """Scores of every customer with a purchase before a cutoff, or of some of them.

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
    customers : ndarray of ids, optional
        Whom to score, if they have a purchase; None for all.

    Returns
    -------
    Table
        Scores by horizon, ascending, with the consents of the customers.
    """
    date = parse_cutoff(events, cutoff, model.task.horizon)
    for caution in scoring_warnings(events, date, last_label):
        say(caution)
    offers = None if definitions is None else named_offers(events, definitions, date.day, say)
    market = Market(model, model.task.past(events, date.day), date, None if offers is None else SAMPLE)
    if horizons is not None:
        check_horizons(horizons, market)
    if customers is not None:
        market.rows = market.rows[np.isin(market.past.customer_id[market.rows], customers)]
    if offers is None:
        prediction, names = Prediction(*market.trained_scores(date, market.rows)), market.trained.name
    else:
        prediction, names = Prediction(*score_new_offers(market, offers), market.past_of(offers)), offers.name
    by_horizon = {date.horizon: prediction[:2]}
    if horizons is not None:
        by_horizon = score_horizons(market, horizons, prediction, offers is not None)
    ids = market.past.customer_id[market.rows]
    scores = {
        horizon: with_consents(Scores(ids, names, *values, str(date), model.name), market.past, market.rows)
        for horizon, values in by_horizon.items()
    }
    return Table(scores, market, offers)


def table_of(
    by_horizon: Mapping[int, Scores],
    horizons: Sequence[int] | None,
    top: int | None = None,
    top_per_customer: int | None = None,
) -> pl.DataFrame:
    """The scores as one table, with a column `horizon` after the cutoff if horizons were asked for.

    Parameters
    ----------
    by_horizon : mapping of int to Scores
        Scores by horizon.
    horizons : sequence of int or None
        What was asked for.
    top, top_per_customer : int, optional
        Keep the best customers of each offer, or the best offers of each customer; of each horizon.
    """
    frames = [best_pairs(scores, top, top_per_customer) for scores in by_horizon.values()]
    if horizons is None:
        return frames[0]
    parts = [frame.with_columns(horizon=pl.lit(days, pl.Int32)) for days, frame in zip(by_horizon, frames, strict=True)]
    return pl.concat(parts).select("cutoff", "customer_id", "offer_id", "horizon", pl.exclude(*COLUMNS[:3], "horizon"))


def best_pairs(scores: Scores, top: int | None = None, top_per_customer: int | None = None) -> pl.DataFrame:
    """The highest scores as a table.

    Parameters
    ----------
    scores : Scores
        Scores of N customers and K offers.
    top : int, optional
        Customers of each offer: the table is sorted by offer, then by descending score. Equal scores are ordered by a
        hash of the customer id.
    top_per_customer : int, optional
        Offers of each customer: the table is sorted by customer, then by descending score.

    Returns
    -------
    polars.DataFrame
        As `Scores.frame`; all pairs without `top` and `top_per_customer`.
    """
    n, k = scores.probability.shape
    if top is not None:
        best = TopK(k, min(top, n), pl.Series(scores.customer).cast(pl.String).hash(seed=0).to_numpy())
        best.add(np.arange(n), np.ascontiguousarray(scores.probability), np.ascontiguousarray(scores.revenue))
        rows = [best.top(offer)[0] for offer in range(k)]
        return pair_table(scores, np.concatenate(rows), np.repeat(np.arange(k), [each.size for each in rows]))
    if top_per_customer is not None:
        order = np.argsort(-scores.probability, axis=1, kind="stable")[:, :top_per_customer]
        return pair_table(scores, np.repeat(np.arange(n), order.shape[1]), order.ravel())
    return scores.frame()


def pair_table(scores: Scores, customer: np.ndarray, offer: np.ndarray) -> pl.DataFrame:
    """Some pairs of scores as a table like `Scores.frame`, from places of customers and offers (R,)."""
    table = pl.DataFrame(
        {
            "customer_id": scores.customer[customer],
            "offer_id": pl.Series(list(scores.offer), dtype=pl.String).gather(offer),
            "score": scores.probability[customer, offer],
            "expected_revenue": scores.revenue[customer, offer],
        }
    ).select(pl.lit(scores.cutoff).str.to_date().alias("cutoff"), pl.all())
    return table if scores.consents is None else table.hstack(scores.consents[customer])


def with_reasons(table: pl.DataFrame, market: Market, offers: Offers, count: int) -> pl.DataFrame:
    """A table of new offers with reasons for each score.

    Parameters
    ----------
    table : polars.DataFrame
        R pairs with `customer_id` and `offer_id`.
    market : Market
        What scored them.
    offers : Offers
        The offers.
    count : int
        Reasons for each score.

    Returns
    -------
    polars.DataFrame
        With the columns `base_value`, `reasons` and `why` in addition, in the same order.
    """
    place, parts = table.with_row_index("place"), []
    for start in range(0, len(offers), TOGETHER):
        chosen = offers.take(np.arange(start, min(start + TOGETHER, len(offers))))
        pairs = place.filter(pl.col("offer_id").is_in(list(chosen.name)))
        if pairs.height:
            opened = OpenedCutoff(explainer_of(market.prepare(chosen)), market.rows)
            parts.append(pairs.hstack(opened.explain_table(pairs, count)))
    return pl.concat(parts).sort("place").drop("place") if parts else table


def score_offers(cfg: ScoreConfig, out: str | Path, say: Say) -> Scores:
    """`scored_table` with the settings of conf/score.yaml; writes the table.

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
    BatchConfig(cfg.top, cfg.top_per_customer, cfg.reasons)  # refuses what contradicts itself
    if cfg.reasons and cfg.horizons is not None:
        raise ConfigurationError("reasons explain scores of the trained horizon; leave out reasons or horizons")
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
    scored = scored_table(model, events, str(cfg.cutoff), last, say, definitions, cfg.horizons)
    table = table_of(scored.scores, cfg.horizons, cfg.top, cfg.top_per_customer)
    if cfg.reasons and scored.offers is not None:
        say(f"explaining {table.height:,} scores")
        table = with_reasons(table, scored.market, scored.offers, cfg.reasons)
    with whole_file(out) as draft:
        write_table(table, draft, metadata_of(events.folder, cfg.run))
    day = to_day(str(cfg.cutoff))
    if sentence := write_not_scored(events, day, bool(model.task.registrants), Path(out)):
        say(sentence)
    entry |= {"model": str(place), "log": str(events.folder), "fingerprint": events.fingerprint}
    append_beside(place.parent, out, "score", entry | {"cutoff": str(cfg.cutoff)})
    return scored.scores[max(scored.scores)]
