"""From the composed configuration of `decide` to what it writes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from propensity.config import DecideConfig
from propensity.data.event_log import EventLog
from propensity.decision.arms import decided, in_experiment, read_arms
from propensity.decision.context import DecisionContext, gather
from propensity.decision.file_name import stem_of, unique_stems
from propensity.decision.objective import objective_of
from propensity.decision.result import DecisionResult, record, save
from propensity.decision.send_list import SendList, check_list, is_list, save_list, send_list
from propensity.decision.setting import build_decision
from propensity.errors import ConfigurationError
from propensity.serving.explain import open_cutoff, with_reasons

ALL = "all"  # offers=all: every offer that is a product


class Reader:
    """Reads what decisions use once, for several decisions on the same scores.

    Parameters
    ----------
    say : callable
        Receives messages about progress.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.open_cutoff = cache(open_cutoff)
        self._contexts: dict[tuple[Any, ...], DecisionContext] = {}

    def context(self, cfg: DecideConfig) -> DecisionContext:
        """What the decision of a configuration may use; see `propensity.decision.context.gather`."""
        place = cfg.scores, cfg.cutoff, cfg.customers, cfg.contacts, cfg.log, cfg.seed
        if place not in self._contexts:
            self._contexts[place] = gather(*place, self.say)
        return self._contexts[place]


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


def make(cfg: DecideConfig, say: Callable[[str], None], reader: Reader | None = None) -> Made:
    """Make a decision; nothing is written.

    Parameters
    ----------
    cfg : DecideConfig
        Composed configuration of conf/decide.yaml.
    say : callable
        Receives messages about progress.
    reader : Reader, optional
        Shared by several decisions, so that scores, log and model are read once.

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
    reader = reader or Reader(say)
    context = reader.context(cfg)
    result = decided(decision, context, objective, arms)
    result = with_reasons(result, context.scores.cutoff, cfg, say, reader.open_cutoff)
    if not is_list(cfg.out):
        return Made(result, None, context.event_log)
    sent = send_list(decision, in_experiment(context, objective, arms), result, arms, cfg.attributes)
    return Made(result, sent, context.event_log)


def by_offer(cfg: DecideConfig, offers: Sequence[str]) -> Iterator[DecideConfig]:
    """The configuration of each of several offers.

    Parameters
    ----------
    cfg : DecideConfig
        Composed configuration of a decision with a setting `offer`, such as an audience. `out` is a folder, or the
        name of a send list.
    offers : sequence of str
        Offer ids.

    Yields
    ------
    DecideConfig
        With a folder or file of its own in the folder `out` (without its suffix), named after the offer.

    Raises
    ------
    ConfigurationError
        If the decision is not about one offer, an offer is given as well, or an offer is named twice.
    """
    if "offer" not in cfg.decision:
        raise ConfigurationError(f"offers are for decision=audience; this decision is {cfg.decision['_target_']}")
    if cfg.decision["offer"] is not None:
        raise ConfigurationError(f"decision.offer={cfg.decision['offer']} and offers exclude each other; give offers")
    if twice := sorted({name for name in offers if list(offers).count(name) > 1}):
        raise ConfigurationError(f"offers names {twice[0]} twice; name it once")
    out = Path(cfg.out)
    for offer, stem in zip(offers, unique_stems(stem_of(offer) or "offer" for offer in offers), strict=True):
        own = copy.deepcopy(cfg)
        own.decision["offer"], own.offers = offer, []
        own.out = str(out.with_suffix("") / f"{stem}{out.suffix if is_list(out) else ''}")
        yield own


def offers_of(cfg: DecideConfig, reader: Reader) -> list[str]:
    """The offers that `offers` names; `all` names those that were scored and are products."""
    if list(cfg.offers) != [ALL]:
        return list(cfg.offers)
    context = reader.context(cfg).with_settings(False, cfg.decision.get("not_products"))
    return [name for name, stopped in zip(context.scores.offer, context.stopped, strict=True) if not stopped]


def make_all_and_write(cfg: DecideConfig, say: Callable[[str], None]) -> list[tuple[DecisionResult, Path]]:
    """Make and write the decision of a configuration, or that of each of its `offers`.

    Parameters
    ----------
    cfg, say
        See `make`.

    Returns
    -------
    list of (DecisionResult, Path)
        See `make_and_write`.
    """
    if not cfg.offers:
        return [make_and_write(cfg, say)]
    reader = Reader(say)
    return [make_and_write(each, say, reader) for each in by_offer(cfg, offers_of(cfg, reader))]


def make_and_write(
    cfg: DecideConfig, say: Callable[[str], None], reader: Reader | None = None
) -> tuple[DecisionResult, Path]:
    """Make a decision, write it, and note it in the audit log.

    Parameters
    ----------
    cfg, say, reader
        See `make`.

    Returns
    -------
    DecisionResult
        The decision.
    Path
        The folder, or the file of a single send list.
    """
    made = make(cfg, say, reader)
    written = made.write(cfg.out)
    record(made.result, written, cfg.scores, made.log)
    return made.result, written
