"""The commands `clv` and `churn` from a configuration to a result."""

from __future__ import annotations

from propensity.config import ChurnConfig, ClvConfig
from propensity.data.cutoff import parse_cutoff
from propensity.data.event_log import EventLog, to_date
from propensity.data.own_log import log_record
from propensity.progress import step
from propensity.value.churn import Churn, find_churn
from propensity.value.valuation import Valuation, value_customers


def values(cfg: ClvConfig, log: EventLog | None = None) -> Valuation:
    """Value the customers of a log, which is opened unless it is given."""
    step("opening the log")
    log = EventLog.open(cfg.log, verify=True) if log is None else log
    cutoff = parse_cutoff(log, cfg.cutoff, 7 * max(cfg.weeks))
    step("fitting rate, lifetime and spend, and valuing customers")
    valuation = value_customers(
        log, cutoff.day, list(cfg.weeks), cfg.margin, cfg.discount, cfg.false_alarms, cfg.seed, cfg.models
    )
    record = {"data": log.fingerprint, "own_log": log_record(log, to_date(cutoff.day).isoformat())}
    return valuation._replace(summary=valuation.summary | record)


def churned(cfg: ChurnConfig, log: EventLog | None = None) -> Churn:
    """Find the customers of a log who are leaving; it is opened unless it is given."""
    log = EventLog.open(cfg.log, verify=True) if log is None else log
    cutoff = parse_cutoff(log, cfg.cutoff, 7 * cfg.weeks)
    return find_churn(log, cutoff.day, cfg.weeks, cfg.false_alarms, cfg.seed, cfg.models)
