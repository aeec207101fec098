"""Online scoring: validates single requests and scores concurrent requests in one block."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.data.batch import Inputs
from propensity.data.consent import profiling_objectors
from propensity.data.event_log import EventLog, to_date, to_day
from propensity.data.log_folder import log_mark
from propensity.data.own_log import require_own_log
from propensity.errors import ConfigurationError
from propensity.explain.reasons import Explainer, Reasons
from propensity.feature.attribute import attribute_numbers
from propensity.feature.empty_customer import unknown_attributes
from propensity.feature.group_rate import group_codes, unknown_groups
from propensity.feature.registrant import Registry, joined
from propensity.kernel.event import Events, fixed
from propensity.serving.bundle import Bundle
from propensity.serving.explain import bundle_log_odds
from propensity.serving.inputs import Event, event_columns
from propensity.serving.point_in_time import registry_of
from propensity.serving.schema import Explanation, Reason, Scored, ScoreRequest, offer_scores

WARM_UP_STEP = 16  # of the golden customers, by the length of their histories


@dataclass(frozen=True)
class ScoringRequest:
    """A validated request.

    Attributes
    ----------
    events : dict of str to ndarray of shape (E,)
        The customer's events as columns of a log.
    day : int
        Cutoff, in days since 1970-01-01.
    offer_index : ndarray of int
        Requested offers.
    reasons : int
        Number of reasons to return; 0 for none.
    attributes : ndarray of shape (A,)
        Numbers of the customer's attributes; NaN where unknown.
    registry : Registry
        Registration and engagement of the customer.
    groups : ndarray of shape (K,), int64
        Groups that the customer is in by other attributes.
    """

    events: dict[str, np.ndarray]
    day: int
    offer_index: np.ndarray
    reasons: int
    attributes: np.ndarray
    registry: Registry
    groups: np.ndarray


class OnlineScorer:
    """Scores single customers with a bundle.

    Parameters
    ----------
    bundle : Bundle
        An opened bundle.
    log : str or Path, optional
        Folder of an event log whose customers can be requested by id.
    verify : bool
        Whether to compare the log with its checksums.

    Raises
    ------
    ConfigurationError
        If the log is not the one that the bundle was trained on, or a continuation of it.

    Notes
    -----
    Market statistics are those of the bundle at any cutoff. A cutoff may lie between that of the bundled tables and the
    end of the bundle's validity.
    """

    def __init__(self, bundle: Bundle, log: str | Path | None = None, verify: bool = True) -> None:
        self.bundle, self.features = bundle, bundle.features()
        self.session, self.pair_scorer = bundle.session(), bundle.pair_scorer()
        self.offer_index = {name: index for index, name in enumerate(self.features.offers.name)}
        self.log_folder, self.verify = None if log is None else Path(log), verify
        self._open_log()

    def _open_log(self) -> None:
        """Open the log in `log_folder`, with the rows of the customers who may be scored."""
        log, bundle = self.log_folder, self.bundle
        self.log_mark = None if log is None else log_mark(log)  # before it is read: a change since is noticed
        self.log = None if log is None else EventLog.open(log, self.verify)
        if self.log is not None and log is not None:
            require_own_log(bundle.manifest, self.log, log)
        ids = [] if self.log is None else self.log.customers["customer"].cast(pl.String).to_list()
        self.row = {customer_id: row for row, customer_id in enumerate(ids)}
        if self.log is not None:
            cutoff = to_date(self.features.market_stats.cutoff.day).isoformat()
            for row in np.flatnonzero(profiling_objectors(self.log.customers, cutoff)).tolist():
                del self.row[ids[row]]
        self.item_index, self.channel_index = self._indices()
        self.attributes, self.groups = self._attributes(), self._groups()
        self.registry = None if self.log is None else Registry.of_log(self.log)
        self.explainer: Explainer | None = None

    def reopened(self) -> OnlineScorer:
        """The same scorer with the log as it is now in its folder.

        Returns
        -------
        OnlineScorer
            With the bundle of this one.

        Raises
        ------
        PropensityError
            If the log cannot be used.
        """
        scorer = copy.copy(self)
        scorer._open_log()
        return scorer

    def _attributes(self) -> np.ndarray:
        """Numbers of the attributes of the log's customers; the last row is for customers given as events."""
        unknown = unknown_attributes(self.features.config, 1)
        if self.log is None:
            return unknown
        return np.concatenate([attribute_numbers(self.log.customers, self.features.config.used_attributes), unknown])

    def _groups(self) -> np.ndarray:
        """Groups of the log's customers by their attributes; the last row is for customers given as events."""
        groups, names = self.features.market_stats.customer_groups, self.features.config.used_group_rates
        unknown = unknown_groups(groups, 1)
        if self.log is None:
            return unknown
        return np.concatenate([group_codes(self.log.customers, names, groups), unknown])

    def _indices(self) -> tuple[np.ndarray, np.ndarray]:
        """The log's items and channels as indices into the bundled tables; the last entry, -1, is for none."""
        if self.log is None:
            return np.zeros(0, np.int32), np.zeros(0, np.int8)
        names = self.log.items["item"].cast(pl.String).to_list()
        channel_index = {name: k for k, name in enumerate(self.features.settings["channels"])}
        items = [*(self.features.item_index.get(name, -1) for name in names), -1]
        channels = [*(channel_index.get(name, -1) for name in self.log.meta["channels"]), -1]
        return np.array(items, np.int32), np.array(channels, np.int8)

    def validate(self, request: ScoreRequest) -> ScoringRequest:
        """Validate what the schema cannot: ids, offers and cutoff.

        Parameters
        ----------
        request : ScoreRequest
            Body of the HTTP request.

        Returns
        -------
        ScoringRequest
            The request with events as columns.

        Raises
        ------
        ConfigurationError
            If the request cannot be answered.
        """
        if (request.customer_id is None) == (request.events is None):
            raise ConfigurationError("give either customer_id, an id in the service's log, or events")
        first = self.features.market_stats.cutoff.day
        day = first if request.cutoff is None else to_day(request.cutoff)
        if day < first:
            raise ConfigurationError(
                f"cutoff {to_date(day)} is before that of the bundled tables; give {to_date(first)} or later"
            )
        last = str(self.bundle.manifest["valid_until"])
        if day > to_day(last):
            raise ConfigurationError(f"the model is valid until {last}, not on {to_date(day)}; give an earlier cutoff")
        offer_index = np.arange(len(self.offer_index))
        if request.offers is not None:
            if unknown := [name for name in request.offers if name not in self.offer_index]:
                raise ConfigurationError(f"no offer {unknown[0]!r} in this bundle; GET /model lists them")
            offer_index = np.array([self.offer_index[name] for name in request.offers])
        row, events = self.row.get(str(request.customer_id), -1), self._events(request)
        known = self.attributes[row], self._registry(request, events), self.groups[row]
        return ScoringRequest(events, day, offer_index, request.reasons, *known)

    def _registry(self, request: ScoreRequest, events: dict[str, np.ndarray]) -> Registry:
        """Registration and engagement in the events of the request, or in the log."""
        if request.events is not None or self.registry is None:
            return registry_of(events)
        return self.registry.take(self.row[str(request.customer_id)])

    def _events(self, request: ScoreRequest) -> dict[str, np.ndarray]:
        """Events of the request, or of the customer in the log."""
        if request.events is not None:
            raw: Sequence[Event] = [vars(event) for event in request.events]
            return event_columns([raw], self.features.item_index, self.features.settings["channels"])
        row = self.row.get(str(request.customer_id))
        if row is None or self.log is None:
            reason = "was started without a log" if self.log is None else "has no such id in its log"
            raise ConfigurationError(
                f"customer_id {request.customer_id!r} is unknown: the service {reason}; give events"
            )
        own = slice(self.log.offsets[row], self.log.offsets[row + 1])
        columns = {name: np.array(getattr(self.log, name)[own]) for name in Events._fields if name != "offsets"}
        columns["item"] = self.item_index[columns["item"]]
        columns["channel"] = self.channel_index[columns["channel"]]
        return columns | {"offsets": np.array([0, columns["day"].size], np.int64)}

    def warm_up(self) -> None:
        """Score golden customers, so that all kernels are compiled before the first request."""
        text = (self.bundle.folder / "golden/events.json").read_text()
        day, offers = self.features.market_stats.cutoff.day, np.arange(len(self.offer_index))
        for events in sorted(json.loads(text)["customers"], key=len)[::WARM_UP_STEP]:
            columns = event_columns([events], self.features.item_index, self.features.settings["channels"])
            known = self.attributes[-1], registry_of(columns), self.groups[-1]
            self.score([ScoringRequest(columns, day, offers, 0, *known)])

    def score(self, requests: Sequence[ScoringRequest]) -> list[Scored]:
        """Score requests; those with the same cutoff form one block.

        Parameters
        ----------
        requests : sequence of ScoringRequest
            Validated requests.

        Returns
        -------
        list of Scored
            In the order of the requests.
        """
        responses: dict[int, Scored] = {}
        for day in {request.day for request in requests}:
            positions = [position for position, request in enumerate(requests) if request.day == day]
            events = concatenate_events([requests[position].events for position in positions])
            attributes = np.stack([requests[position].attributes for position in positions])
            registry = joined([requests[position].registry for position in positions])
            groups = np.stack([requests[position].groups for position in positions])
            inputs = self.features.from_events(events, day, attributes=attributes, registry=registry, groups=groups)
            scores, revenues = self.pair_scorer(inputs._asdict())
            for row, position in enumerate(positions):
                responses[position] = self._response(requests[position], inputs, row, scores[row], revenues[row])
        return [responses[position] for position in range(len(requests))]

    def _response(
        self, request: ScoringRequest, inputs: Inputs, row: int, score: np.ndarray, revenue: np.ndarray
    ) -> Scored:
        """The response for one row of a block."""
        names, offers = self.features.offers.name, request.offer_index
        scores = offer_scores([names[m] for m in offers.tolist()], score[offers].tolist(), revenue[offers].tolist())
        explanation = self._explanation(request, inputs, row, score) if request.reasons else None
        return Scored(to_date(request.day), scores, explanation)

    def _explanation(self, request: ScoringRequest, inputs: Inputs, row: int, score: np.ndarray) -> Explanation:
        """Reasons for the probability of the highest-scored offer."""
        best = int(request.offer_index[np.argmax(score[request.offer_index])])
        reasons = self._explainer(request.day).explain(inputs, row, best)
        return explanation_of(reasons, self.features.offers.name[best], request.reasons)

    def _explainer(self, day: int) -> Explainer:
        """Explains scores of a cutoff; that of the last one is kept."""
        if self.explainer is None or self.explainer.market_stats.cutoff.day != day:
            market_stats = self.features.market_stats
            dated = market_stats._replace(cutoff=market_stats.cutoff._replace(day=day))
            others = "frequency" in self.bundle.candidates
            self.explainer = Explainer(
                bundle_log_odds(self.session), self.features, dated, others, self.bundle.manifest.get("currency")
            )
        return self.explainer


def explanation_of(reasons: Reasons, offer: str, count: int) -> Explanation:
    """Reasons as a part of a response.

    Parameters
    ----------
    reasons : Reasons
        Of a score.
    offer : str
        Id of its offer.
    count : int
        Number of reasons.
    """
    return Explanation(
        offer_id=offer,
        base_value=reasons.base_value,
        score=reasons.score,
        reasons=[
            Reason(feature=each.title, contribution=each.contribution, sentence=each.text)
            for each in reasons.largest(count)
        ],
        other=reasons.left(count),
    )


def concatenate_events(customers: Sequence[dict[str, np.ndarray]]) -> Events:
    """Columns of single customers as one set of events.

    Parameters
    ----------
    customers : sequence of dict of str to ndarray, length B
        Columns of one customer each.

    Returns
    -------
    Events
        With B customers.
    """
    columns: dict[str, Any] = {
        name: np.concatenate([each[name] for each in customers]) for name in Events._fields if name != "offsets"
    }
    sizes = [each["day"].size for each in customers]
    return Events(fixed(np.cumsum([0, *sizes]).astype(np.int64)), *(fixed(columns[n]) for n in Events._fields[1:]))
