"""Scores of a cutoff from a training run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.utils import instantiate

from propensity.audit import append_beside
from propensity.catalogue.model import is_catalogue
from propensity.champion.champion import SERVED, Champion
from propensity.config import ScoreConfig
from propensity.data.cutoff import parse_cutoff, scoring_warnings
from propensity.data.offer import count_buyers
from propensity.engine.block import BLOCKS, Engine, require_local
from propensity.engine.local import LocalEngine
from propensity.errors import ConfigurationError
from propensity.evaluation.predict_job import predict_in_blocks
from propensity.scores import SHARES_FILE, Scores, save_scores, save_shares, with_consents
from propensity.serving.not_scored import write_not_scored
from propensity.training.checkpoint import load_trained


def uses_bundle(cfg: ScoreConfig) -> bool:
    """Whether a bundle is scored, not a run.

    Parameters
    ----------
    cfg : ScoreConfig
        Composed configuration of conf/score.yaml.

    Returns
    -------
    bool
        True if `bundle` is set.

    Raises
    ------
    ConfigurationError
        If not exactly one of `run` and `bundle` is set, or a setting needs a bundle.
    """
    if (cfg.run is None) == (cfg.bundle is None):
        raise ConfigurationError("score either a run or a bundle; give run=runs/demo or bundle=bundle")
    if cfg.bundle is not None and cfg.requests is not None:
        raise ConfigurationError("requests need a run; give run=runs/demo in place of bundle")
    if cfg.cutoff is not None and cfg.requests is not None:
        raise ConfigurationError("each of the requests has a cutoff of its own; give either cutoff or requests")
    if cfg.bundle is None and cfg.top and by_request(cfg):
        raise ConfigurationError("top needs a bundle; for requests use top_per_customer")
    if cfg.bundle is None and (cfg.top or cfg.top_per_customer) and not (by_request(cfg) or by_offer(cfg)):
        raise ConfigurationError("top and top_per_customer need a bundle; export the run first")
    if cfg.bundle is None and cfg.reasons and not by_offer(cfg):
        raise ConfigurationError("reasons need a bundle; for a run use propensity explain or decide with reasons=5")
    if cfg.cutoff is None and cfg.requests is None:
        raise ConfigurationError("cutoff not given; add cutoff=... or requests=...")
    return cfg.bundle is not None


def by_request(cfg: ScoreConfig) -> bool:
    """Whether pairs of a run are scored one by one: for a table of requests, or by a run that was trained on one.

    Parameters
    ----------
    cfg : ScoreConfig
        Composed configuration of conf/score.yaml.

    Returns
    -------
    bool
        False for a bundle.
    """
    return cfg.run is not None and (cfg.requests is not None or is_catalogue(cfg.run))


def by_offer(cfg: ScoreConfig) -> bool:
    """Whether offers or horizons are named that the run or bundle need not know.

    Parameters
    ----------
    cfg : ScoreConfig
        Composed configuration of conf/score.yaml.

    Returns
    -------
    bool
        True if `offers` or `horizons` is set.
    """
    return cfg.offers is not None or cfg.horizons is not None


def score_from_config(cfg: ScoreConfig, out: str, say: Callable[[str], None]) -> Any:
    """Score a run by the settings of a command.

    Parameters
    ----------
    cfg : ScoreConfig
        Composed configuration of conf/score.yaml, of a run; also of a bundle where `by_offer` holds.
    out : str
        Parquet file to write.
    say : callable
        Receives warnings.

    Returns
    -------
    Scores or polars.DataFrame
        The scores of a cutoff, of the longest horizon; a table where `by_request` holds.
    """
    engine = instantiate(cfg.engine)
    if by_offer(cfg) or by_request(cfg):
        require_local(engine, "scores of requests, and of offers or horizons that a file names,")
    if by_offer(cfg) and cfg.run is not None and cfg.requests is not None:
        from propensity.serving.request_offers import score_request_offers

        return score_request_offers(cfg, out, say)
    if by_offer(cfg):
        from propensity.serving.score_offers import score_offers

        return score_offers(cfg, out, say)
    assert cfg.run is not None  # uses_bundle has seen to it
    if by_request(cfg):
        from propensity.catalogue.score import score_requests

        return score_requests(
            cfg.run, cfg.requests, out, cfg.log, cfg.top_per_customer, cfg.cutoff, say, cfg.data.verify
        )
    assert cfg.cutoff is not None
    return score(cfg.run, cfg.cutoff, out, cfg.log, say, cfg.data.verify, engine)


def score(
    run: str | Path,
    cutoff: str,
    out: str | Path,
    log: str | None,
    say: Callable[[str], None],
    verify: bool = True,
    engine: Engine | None = None,
) -> Scores:
    """Score every customer for every offer on sale by the champion of a run.

    Customers have a purchase before the cutoff, or are registrants where the run was trained on them. Those without a
    score are listed beside the scores with the reason, see `propensity.serving.not_scored`.

    Parameters
    ----------
    run : str or Path
        Folder of the training run.
    cutoff : str
        First day of the horizon, YYYY-MM-DD; any day after the first event, also after the end of the log.
    out : str or Path
        Parquet file to write. If the network predicts channels, their shares are written to channels.parquet beside it.
    log : str, optional
        Folder of an event log; None for the log of the run.
    say : callable
        Receives warnings: a stale log, an in-sample cutoff, no offer with enough buyers.
    verify : bool
        Whether to compare the log with its checksums.
    engine : Engine, optional
        Where customers are scored, with the same result; None for this process.

    Returns
    -------
    Scores
        The scores that were written.

    Raises
    ------
    ConfigurationError
        If the run is missing, the cutoff is before the first event, or `out` is the file of the channel shares.
    DataError
        If files are damaged.
    """
    shares_path = Path(out).with_name(SHARES_FILE)
    if shares_path == Path(out):
        raise ConfigurationError(f"{out} is the file of channel shares; give another name, such as scores.parquet")
    trained = load_trained(run)
    events = trained.task.open_or(log, verify)
    date = parse_cutoff(events, cutoff, trained.task.horizon)
    for caution in scoring_warnings(events, date, trained.about["last_label"]):
        say(caution)
    cutoff_data = trained.task.cutoff_data(events, date, trained.vocabulary)
    config, (features, _, _) = trained.task.offer, cutoff_data
    if config.min_buyers > count_buyers(features.log, features.offers, date.day, config.window).max():
        say(
            f"no offer has {config.min_buyers} buyers in the {config.window} days before {date}: "
            "all offers with a sale are scored"
        )
    champion, blocks = Champion.load(run, trained.model), Path(out).with_name(f".{Path(out).name}{BLOCKS}")
    [(by_name, shares)] = predict_in_blocks(run, champion, events, [cutoff_data], engine or LocalEngine(), blocks, say)
    scores = with_consents(by_name[SERVED], features.log, cutoff_data.row)
    save_scores([scores], out, log=events.folder, run=run)
    if shares is not None:
        save_shares([shares], shares_path)
    if sentence := write_not_scored(events, date.day, bool(trained.task.registrants), Path(out)):
        say(sentence)
    entry = {"model": str(run), "log": str(events.folder), "fingerprint": events.fingerprint, "cutoff": str(date)}
    append_beside(Path(run).parent, out, "score", entry)
    return scores
