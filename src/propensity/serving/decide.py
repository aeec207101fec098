"""From the composed configuration of `decide` to what it writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from propensity.config import DecideConfig
from propensity.data.event_log import EventLog
from propensity.decision.arms import decided, in_experiment, read_arms
from propensity.decision.context import gather
from propensity.decision.objective import objective_of
from propensity.decision.result import DecisionResult, record, save
from propensity.decision.send_list import SendList, check_list, is_list, save_list, send_list
from propensity.decision.setting import build_decision
from propensity.serving.explain import with_reasons


class Made(NamedTuple):
    """A decision before it is written.

    Attributes
    ----------
    result : DecisionResult
        Tables, sentences and a picture.
    sent : SendList or None
        Its messages, where the configuration names a send list.
    log : EventLog or None
        The log that consents and messages came from.
    """

    result: DecisionResult
    sent: SendList | None
    log: EventLog | None

    def write(self, out: str | Path) -> Path:
        """Write the folder or the send list; returns the folder, or the file of a single list."""
        if self.sent is None:
            save(self.result, out)
            return Path(out)
        paths = save_list(self.sent, out)
        return paths[0] if len(paths) == 1 else paths[0].parent


def make(cfg: DecideConfig, say: Callable[[str], None]) -> Made:
    """Make a decision; nothing is written.

    Parameters
    ----------
    cfg : DecideConfig
        Composed configuration of conf/decide.yaml.
    say : callable
        Receives messages about progress.

    Raises
    ------
    ConfigurationError
        If settings contradict each other, or a file is not there.
    DataError
        If a file cannot be used.
    InfeasibleError
        If no decision meets the request.
    """
    decision = build_decision(cfg.decision)
    check_list(decision, cfg.out, cfg.attributes, cfg.reasons)
    objective, arms = objective_of(cfg.objective, cfg.discovery, cfg.uplift, cfg.decision), read_arms(cfg.arms)
    context = gather(cfg.scores, cfg.cutoff, cfg.customers, cfg.contacts, cfg.log, cfg.seed, say)
    result = with_reasons(decided(decision, context, objective, arms), context.scores.cutoff, cfg, say)
    if not is_list(cfg.out):
        return Made(result, None, context.event_log)
    sent = send_list(decision, in_experiment(context, objective, arms), result, arms, cfg.attributes)
    return Made(result, sent, context.event_log)


def make_and_write(cfg: DecideConfig, say: Callable[[str], None]) -> tuple[DecisionResult, Path]:
    """Make a decision, write it, and note it in the audit log.

    Parameters
    ----------
    cfg, say
        See `make`.

    Returns
    -------
    DecisionResult
        The decision.
    Path
        The folder, or the file of a single send list.
    """
    made = make(cfg, say)
    written = made.write(cfg.out)
    record(made.result, written, cfg.scores, made.log)
    return made.result, written
