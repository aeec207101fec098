"""Answers to single requests: checks what a schema cannot, and scores requests that arrive together in one block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.data.batch import Inputs
from propensity.data.event_log import EventLog, to_date, to_day
from propensity.errors import ConfigurationError
from propensity.kernel.event import Events, fixed
from propensity.serving.bundle import Bundle
from propensity.serving.inputs import Event, event_columns
from propensity.serving.point_in_time import nobody
from propensity.serving.reason import labels, reasons
from propensity.serving.schema import Explained, OfferScore, Reason, ScoreAnswer, ScoreRequest


@dataclass(frozen=True)
class ScoringRequest:
    """A request that can be answered: the customer's events as columns, the day, the places of the offers."""

    events: dict[str, np.ndarray]
    day: int
    offers: np.ndarray
    reasons: int


class OnlineScorer:
    """A bundle at the disposal of single customers; with a log, of those it knows by id too.

    The tables are those of the bundle, whatever the date: a request may be dated from then until the bundle expires.
    """

    def __init__(self, bundle: Bundle, log: str | Path | None = None) -> None:
        self.bundle, self.market = bundle, bundle.market()
        self.session, self.pairs = bundle.session(), bundle.pairs()
        self.place = {name: place for place, name in enumerate(self.market.offers.name)}
        self.log = None if log is None else EventLog.open(log)
        ids = [] if self.log is None else self.log.customers["customer"].cast(pl.String).to_list()
        self.row = {each: row for row, each in enumerate(ids)}
        self.items, self.channels = self._codes()

    def _codes(self) -> tuple[np.ndarray, np.ndarray]:
        """The log's items and channels as numbers of the bundled tables; the last entry, -1, is none."""
        if self.log is None:
            return np.zeros(0, np.int32), np.zeros(0, np.int8)
        names = self.log.items["item"].cast(pl.String).to_list()
        known = {name: k for k, name in enumerate(self.market.settings["channels"])}
        items = [*(self.market.item_number.get(name, -1) for name in names), -1]
        channels = [*(known.get(name, -1) for name in self.log.meta["channels"]), -1]
        return np.array(items, np.int32), np.array(channels, np.int8)

    def check(self, request: ScoreRequest) -> ScoringRequest:
        """ConfigurationError, one sentence, for what cannot be answered."""
        if (request.customer is None) == (request.events is None):
            raise ConfigurationError("give either customer, a known id, or events, a history of one's own")
        first = self.market.market_stats.cutoff.day
        day = first if request.date is None else to_day(request.date)
        if day < first:
            raise ConfigurationError(f"{to_date(day)} lies before the bundled tables; give {to_date(first)} or later")
        self.bundle.valid(day)
        names = self.market.offers.name if request.offers is None else request.offers
        if unknown := [name for name in names if name not in self.place]:
            raise ConfigurationError(f"no offer {unknown[0]!r} in this bundle; GET /model lists them")
        offers = np.array([self.place[name] for name in names])
        return ScoringRequest(self._events(request), day, offers, request.reasons)

    def _events(self, request: ScoreRequest) -> dict[str, np.ndarray]:
        if request.events is not None:
            raw: Sequence[Event] = [event.model_dump() for event in request.events]
            return event_columns([raw], self.market.item_number, self.market.settings["channels"])
        row = self.row.get(str(request.customer))
        if row is None or self.log is None:
            known = "a log to know ids by" if self.log is None else "that id in its log"
            raise ConfigurationError(
                f"customer {request.customer!r} is unknown: the service has not {known}; give events"
            )
        own = slice(self.log.offsets[row], self.log.offsets[row + 1])
        columns = {name: np.array(getattr(self.log, name)[own]) for name in Events._fields if name != "offsets"}
        columns["item"], columns["channel"] = self.items[columns["item"]], self.channels[columns["channel"]]
        return columns | {"offsets": np.array([0, columns["day"].size], np.int64)}

    def answers(self, asked: Sequence[ScoringRequest]) -> list[ScoreAnswer]:
        """Answers in order; requests of one day are scored together."""
        made: list[ScoreAnswer | None] = [None] * len(asked)
        for day in {each.day for each in asked}:
            places = [place for place, each in enumerate(asked) if each.day == day]
            inputs = self.market.seen(joined([asked[place].events for place in places]), day)
            scores, revenues = self.pairs(inputs._asdict())
            for row, place in enumerate(places):
                made[place] = self._answer(asked[place], inputs, row, scores[row], revenues[row])
        return [each for each in made if each is not None]

    def _answer(
        self, asked: ScoringRequest, inputs: Inputs, row: int, score: np.ndarray, revenue: np.ndarray
    ) -> ScoreAnswer:
        names = self.market.offers.name
        scores = [
            OfferScore(offer=names[m], probability=float(score[m]), expected_revenue=float(revenue[m]))
            for m in asked.offers
        ]
        explained = self._explained(asked, inputs, row, score) if asked.reasons else None
        return ScoreAnswer(date=to_date(asked.day), scores=scores, explained=explained)

    def _explained(self, asked: ScoringRequest, inputs: Inputs, row: int, score: np.ndarray) -> Explained:
        best = int(asked.offers[np.argmax(score[asked.offers])])
        market_stats = self.market.market_stats
        unknown = nobody(self.market, market_stats._replace(cutoff=market_stats.cutoff._replace(day=asked.day)))
        found = reasons(self.session, inputs, unknown, row, best, self.market.config, self.label(asked))
        told = found.largest(asked.reasons)
        return Explained(
            offer=self.market.offers.name[best],
            base=found.base,
            reasons=[Reason(about=about, contribution=value) for about, value in told],
            rest=found.total - sum(value for _, value in told),
        )

    def label(self, asked: ScoringRequest) -> list[str]:
        """The visible events of a request in words, oldest first."""
        seen = np.flatnonzero(asked.events["day"] < asked.day)
        names = [str(self.market.tables["item"][k]) if k >= 0 else None for k in asked.events["item"][seen]]
        return labels(asked.events["day"][seen], asked.events["kind"][seen], names)


def joined(events: Sequence[dict[str, np.ndarray]]) -> Events:
    """Single customers' columns as one log."""
    columns: dict[str, Any] = {
        name: np.concatenate([each[name] for each in events]) for name in Events._fields if name != "offsets"
    }
    sizes = [each["day"].size for each in events]
    return Events(fixed(np.cumsum([0, *sizes]).astype(np.int64)), *(fixed(columns[n]) for n in Events._fields[1:]))
