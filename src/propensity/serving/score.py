"""Scoring a send date with a trained run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig

from propensity.data.cutoff import parse_cutoff, scoring_warnings
from propensity.data.event_log import EventLog
from propensity.data.offer import count_buyers
from propensity.errors import ConfigurationError
from propensity.scores import SHARES_FILE, Scores, save_scores, save_shares
from propensity.training.checkpoint import load_trained
from propensity.training.predict import predict_both


def by_bundle(cfg: DictConfig) -> bool:
    """Whether a bundle is asked rather than a run; ConfigurationError unless it is exactly one of them."""
    if (cfg.run is None) == (cfg.bundle is None):
        raise ConfigurationError("score a run or a bundle; give run=runs/demo or bundle=bundle")
    if cfg.bundle is None and (cfg.top or cfg.top_per_customer):
        raise ConfigurationError("top and top_per_customer are cut from a bundle; export the run first")
    return cfg.bundle is not None


def score(run: str | Path, cutoff: str, out: str | Path, log: str | None, say: Callable[[str], None]) -> Scores:
    """Writes to `out` the scores of everybody with a purchase before `cutoff` for every offer on the list then.

    A network that learned channels also leaves the shares of each customer in channels.parquet beside `out`.

    Args: run folder; cutoff, any date after the first event, also past the end of the log; log, a folder (None: the
    run's own); say hears what a reader of the scores should know: a stale log, or a cutoff that is in-sample.
    Raises: ConfigurationError for a missing run, a cutoff before the first event or an `out` that the shares need,
    DataError for damaged files.
    """
    beside = Path(out).with_name(SHARES_FILE)
    if beside == Path(out):
        raise ConfigurationError(f"{out} is where shares of channels go; give out another name, such as scores.parquet")
    trained = load_trained(run)
    events = trained.task.open() if log is None else EventLog.open(log)
    date = parse_cutoff(events, cutoff, trained.task.horizon)
    for caution in scoring_warnings(events, date, trained.about["end"]):
        say(caution)
    cutoff_data = trained.task.cutoff_data(events, date, trained.vocabulary)
    rule, (features, _, _) = trained.task.offer, cutoff_data
    if rule.min_buyers > count_buyers(features.log, features.offers, date.day, rule.window).max():
        say(f"no offer has {rule.min_buyers} buyers in the {rule.window} days before {date}: all that sold are scored")
    scores, shares = predict_both(trained.model, cutoff_data)
    save_scores([scores], out)
    if shares is not None:
        save_shares([shares], beside)
    return scores
