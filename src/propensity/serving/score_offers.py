"""A table of scores of offers that are named when it is asked for, from a run or a bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from propensity.audit import append_beside
from propensity.champion.champion import SERVED, Champion
from propensity.config import ScoreConfig
from propensity.data.batch import Inputs
from propensity.data.cutoff import parse_cutoff, scoring_warnings
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError
from propensity.scores import Scores, save_scores, with_consents
from propensity.serving.bundle import Bundle, open_bundle
from propensity.serving.new_offers import OfferModel, score_new_offers
from propensity.serving.offer_definition import Definitions, named_offers, read_definitions
from propensity.training.checkpoint import Trained, load_trained

Say = Callable[[str], None]


def model_of_run(run: str | Path, trained: Trained) -> OfferModel:
    """The champion of a run, as what scores offers."""
    champion, pair = Champion.load(run, trained.model), trained.task.feature.pair

    def score(inputs: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        return champion.score(Inputs(**inputs), pair)

    return OfferModel(trained.task, trained.vocabulary, score, SERVED)


def model_of_bundle(bundle: Bundle) -> OfferModel:
    """The champion of a bundle, as what scores offers."""
    return OfferModel(bundle.task, bundle.vocabulary, bundle.pair_scorer(), bundle.champion)


def score_definitions(
    model: OfferModel, events: EventLog, cutoff: str, definitions: Definitions, last_label: str, say: Say
) -> Scores:
    """Scores of every customer with a purchase before a cutoff for the offers that definitions name.

    Parameters
    ----------
    model : OfferModel
        A trained run or a bundle.
    events : EventLog
        The log that is scored.
    cutoff : str
        First day of the horizon, YYYY-MM-DD.
    definitions : mapping of str to str or sequence
        Filter or item ids of each offer; see `named_offers`.
    last_label : str
        ISO date that no training label reached.
    say : callable
        Receives warnings: a stale log, an in-sample cutoff, ids that are not in the log.

    Returns
    -------
    Scores
        With the consents of the customers.
    """
    date = parse_cutoff(events, cutoff, model.task.horizon)
    for caution in scoring_warnings(events, date, last_label):
        say(caution)
    scores, market = score_new_offers(model, events, date, named_offers(events, definitions, date.day, say))
    return with_consents(scores, market.past, market.rows)


def score_offers(cfg: ScoreConfig, out: str | Path, say: Say) -> Scores:
    """`score_definitions` with the settings of conf/score.yaml; writes the table.

    Parameters
    ----------
    cfg : ScoreConfig
        Composed configuration, with `offers` and either `run` or `bundle`.
    out : str or Path
        Parquet file to write.
    say : callable
        Receives warnings.

    Returns
    -------
    Scores
        The scores that were written.

    Raises
    ------
    ConfigurationError
        If a setting does not go with `offers`, or an offer cannot be scored.
    """
    assert cfg.offers is not None
    if unused := [name for name in ("top", "top_per_customer", "reasons") if getattr(cfg, name)]:
        raise ConfigurationError(f"{unused[0]} does not go with offers; leave one of them out")
    definitions = read_definitions(cfg.offers)
    entry: dict[str, Any] = {"offers": str(cfg.offers)}
    if cfg.run is not None:
        trained = load_trained(cfg.run)
        model, last, place = model_of_run(cfg.run, trained), str(trained.about["last_label"]), Path(cfg.run)
    else:
        assert cfg.bundle is not None
        bundle = open_bundle(cfg.bundle, cfg.digest)
        model, last, place = model_of_bundle(bundle), str(bundle.manifest["last_label"]), Path(cfg.bundle).resolve()
        entry["digest"] = bundle.digest
    events = model.task.open_or(cfg.log, cfg.data.verify)
    if cfg.bundle is not None:
        bundle.cutoff(events, str(cfg.cutoff))
    scores = score_definitions(model, events, str(cfg.cutoff), definitions, last, say)
    save_scores([scores], out, log=events.folder)
    entry |= {"model": str(place), "log": str(events.folder), "fingerprint": events.fingerprint}
    append_beside(place.parent, out, "score", entry | {"cutoff": scores.cutoff})
    return scores
