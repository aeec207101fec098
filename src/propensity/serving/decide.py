"""From the composed configuration of `decide` to what it writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from propensity.config import DecideConfig
from propensity.decision.arms import decided, in_experiment, read_arms
from propensity.decision.context import gather
from propensity.decision.objective import objective_of
from propensity.decision.result import DecisionResult, record, save_and_record
from propensity.decision.send_list import check_list, is_list, save_list, send_list
from propensity.decision.setting import build_decision
from propensity.serving.explain import with_reasons


def make(cfg: DecideConfig, say: Callable[[str], None]) -> tuple[DecisionResult, Path]:
    """Make a decision, and write it as a folder or as a send list.

    Parameters
    ----------
    cfg : DecideConfig
        Composed configuration of conf/decide.yaml.
    say : callable
        Receives messages about progress.

    Returns
    -------
    result : DecisionResult
        The decision.
    written : Path
        The folder, or the file of a send list.
    """
    decision = build_decision(cfg.decision)
    check_list(decision, cfg.out, cfg.attributes, cfg.reasons)
    objective, arms = objective_of(cfg.objective, cfg.discovery, cfg.uplift, cfg.decision), read_arms(cfg.arms)
    context = gather(cfg.scores, cfg.cutoff, cfg.customers, cfg.contacts, cfg.log, cfg.seed, say)
    result = decided(decision, context, objective, arms)
    result = with_reasons(result, context.scores.cutoff, cfg, say)
    if not is_list(cfg.out):
        save_and_record(result, cfg.out, cfg.scores, context.event_log)
        return result, Path(cfg.out)
    sent = send_list(decision, in_experiment(context, objective, arms), result, arms, cfg.attributes)
    paths = save_list(sent, cfg.out)
    written = paths[0] if len(paths) == 1 else paths[0].parent
    record(result, written, cfg.scores, context.event_log)
    return result, written
