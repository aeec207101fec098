"""Offers that a request to the HTTP service defines: computed once, kept, and scored like those of the bundle.

The statistics of new offers come from the service's log. They take seconds, so one thread computes them while others
score, and requests for the same offers wait for the same computation.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.data.cutoff import parse_cutoff
from propensity.data.event_log import EventLog, to_date
from propensity.errors import ConfigurationError
from propensity.explain.new_offer import NewOfferExplainer
from propensity.feature.group_rate import unknown_groups
from propensity.feature.registrant import joined
from propensity.kernel.event import Events
from propensity.serving.bundle import Bundle
from propensity.serving.inputs import Event, event_columns
from propensity.serving.new_offers import SAMPLE, Market, OfferModel, PreparedOffers
from propensity.serving.offer_definition import named_offers
from propensity.serving.online import OnlineScorer, ScoringRequest, concatenate_events, explanation_of
from propensity.serving.schema import Scored, ScoreRequest, offer_scores
from propensity.serving.score_offers import explainer_of, explanation_model

KEPT = 16  # lists of offers whose statistics are kept
MARKETS = 2  # cutoffs whose statistics of the trained offers are kept
MOST_WAITING = 4  # lists of offers that may wait to be computed
SECONDS = 120.0  # that a request waits for them; they are computed to the end, for the next request

Definitions = Mapping[str, str | Sequence[Any]]


class BusyError(Exception):
    """Too many lists of offers wait to be computed."""


class SlowError(Exception):
    """A list of offers is still being computed."""


class DefinedScorer:
    """Scores single customers for offers that a request defines; see `OnlineScorer`.

    Parameters
    ----------
    online : OnlineScorer
        The service's bundle and log.
    prepared : PreparedOffers
        The offers at the cutoff of the request.
    """

    def __init__(self, online: OnlineScorer, prepared: PreparedOffers) -> None:
        assert online.log is not None
        self.online, self.prepared, self.data = online, prepared, online.log
        self.offer_index = np.arange(len(prepared.features.offers))

    @property
    def bundle(self) -> Bundle:
        """The bundle that scores."""
        return self.online.bundle

    @property
    def log(self) -> EventLog | None:
        """The log that the statistics come from."""
        return self.online.log

    @property
    def log_folder(self) -> Path | None:
        """Its folder."""
        return self.online.log_folder

    @cached_property
    def explainer(self) -> NewOfferExplainer:
        """Explains the scores."""
        return explainer_of(self.prepared)

    @cached_property
    def item_places(self) -> dict[str, int]:
        """Places of the log's items by their ids as text."""
        return {each: place for place, each in enumerate(self.data.items["item"].cast(pl.String).to_list())}

    def validate(self, request: ScoreRequest) -> ScoringRequest:
        """Validate the customer and the cutoff of a request, see `OnlineScorer.validate`.

        Parameters
        ----------
        request : ScoreRequest
            Body of the HTTP request.

        Returns
        -------
        ScoringRequest
            With events as columns of the service's log.
        """
        known = self.online.validate(request.model_copy(update={"offers": None}))
        stats = self.prepared.stats
        if request.events is None:
            groups = self.prepared.features.groups_of(stats)[self.online.row[str(request.customer_id)]]
        else:
            groups = unknown_groups(stats.customer_groups, 1)[0]
        return replace(known, events=self._events(request), offer_index=self.offer_index, groups=groups)

    def _events(self, request: ScoreRequest) -> dict[str, np.ndarray]:
        """Events of the request, or of the customer in the log."""
        if request.events is not None:
            raw: Sequence[Event] = [event.model_dump() for event in request.events]
            return event_columns([raw], self.item_places, self.data.meta["channels"])
        row = self.online.row[str(request.customer_id)]
        own = slice(self.data.offsets[row], self.data.offsets[row + 1])
        columns = {name: np.array(getattr(self.data, name)[own]) for name in Events._fields if name != "offsets"}
        return columns | {"offsets": np.array([0, columns["day"].size], np.int64)}

    def score(self, requests: Sequence[ScoringRequest]) -> list[Scored]:
        """Score requests in one block.

        Parameters
        ----------
        requests : sequence of ScoringRequest
            Validated requests, all with the cutoff of the offers.

        Returns
        -------
        list of Scored
            In the order of the requests.
        """
        events = concatenate_events([request.events for request in requests])
        attributes, groups = (np.stack([getattr(each, k) for each in requests]) for k in ("attributes", "groups"))
        registry = joined([request.registry for request in requests])
        block = self.prepared.of_events(events, attributes, registry, groups)
        inputs = block.features.inputs(block.stats, np.arange(len(requests)))
        scores, revenues = block.scores(inputs)
        names = block.features.offers.name
        responses = []
        for row, request in enumerate(requests):
            table = offer_scores(names, scores[row].tolist(), revenues[row].tolist())
            explanation = None
            if request.reasons:
                best = int(np.argmax(scores[row]))
                self.explainer.new = block.features  # whose last inputs are these
                explanation = explanation_of(self.explainer.explain(inputs, row, best), names[best], request.reasons)
            responses.append(Scored(to_date(request.day), table, explanation))
        return responses


class Key(NamedTuple):
    """What statistics of new offers depend on."""

    digest: str
    fingerprint: str
    day: int
    definitions: str


class DefinedOffers:
    """Computes what scores offers that requests define, in one thread, and keeps the last ones.

    Parameters
    ----------
    seconds : float
        That a request waits for the computation.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self.thread = ThreadPoolExecutor(1, "offers")
        self.scorers: OrderedDict[Key, asyncio.Future[DefinedScorer]] = OrderedDict()
        self.markets: OrderedDict[tuple[str, str, int], Market] = OrderedDict()

    async def scorer(self, online: OnlineScorer, definitions: Definitions, cutoff: Any) -> DefinedScorer:
        """What scores the offers of a request.

        Parameters
        ----------
        online : OnlineScorer
            The service's bundle and log.
        definitions : mapping of str to str or sequence
            Filter or item ids of each offer.
        cutoff : date, optional
            Of the request; None for that of the bundled tables.

        Returns
        -------
        DefinedScorer
            Kept for the next request with the same offers.

        Raises
        ------
        ConfigurationError
            If the service has no log, or an offer cannot be scored.
        BusyError
            If too many others wait to be computed.
        SlowError
            If the computation takes longer than the request may wait.
        """
        if online.log is None:
            raise ConfigurationError(
                "offers that a request defines need an event log, and the service was started without one; name offers "
                "of GET /model, or start it with log=<folder>"
            )
        first = online.features.market_stats.cutoff.day
        day = online.validate(ScoreRequest(events=[], cutoff=cutoff)).day if cutoff is not None else first
        text = json.dumps(dict(definitions))
        key = Key(online.bundle.digest, online.log.fingerprint, day, text)
        self._forget_others(key)
        if key not in self.scorers:
            if sum(not each.done() for each in self.scorers.values()) >= MOST_WAITING:
                raise BusyError
            work = asyncio.get_running_loop().run_in_executor(self.thread, self._compute, online, definitions, day)
            self.scorers[key] = work
            work.add_done_callback(lambda done: self._drop_failed(key, done))
            while len(self.scorers) > KEPT:
                self.scorers.popitem(last=False)
        self.scorers.move_to_end(key)
        try:
            return await asyncio.wait_for(asyncio.shield(self.scorers[key]), self.seconds)
        except TimeoutError:
            raise SlowError from None

    def stop(self) -> None:
        """Start no further computation."""
        self.thread.shutdown(wait=False, cancel_futures=True)

    def _forget_others(self, key: Key) -> None:
        """Drop what was computed with another bundle or log."""
        for old in [each for each in self.scorers if each[:2] != key[:2]]:
            del self.scorers[old]

    def _drop_failed(self, key: Key, done: asyncio.Future[DefinedScorer]) -> None:
        """Keep no failure: the next request tries again."""
        if (done.cancelled() or done.exception() is not None) and self.scorers.get(key) is done:
            del self.scorers[key]

    def _compute(self, online: OnlineScorer, definitions: Definitions, day: int) -> DefinedScorer:
        """The statistics of the offers."""
        log, bundle = online.log, online.bundle
        assert log is not None
        offers = named_offers(log, definitions, day)
        place = bundle.digest, log.fingerprint, day
        for old in [each for each in self.markets if each[:2] != place[:2]]:
            del self.markets[old]
        if place not in self.markets:
            cutoff = parse_cutoff(log, str(to_date(day)), bundle.task.horizon)
            model = OfferModel(
                *(bundle.task, bundle.vocabulary, online.pair_scorer, bundle.champion),
                explanation_model(bundle, online.session),
            )
            self.markets[place] = Market(model, log.before(day), cutoff, SAMPLE)
            while len(self.markets) > MARKETS:
                self.markets.popitem(last=False)
        return DefinedScorer(online, self.markets[place].prepare(offers))
