"""The complete list of decisions, and the gate that each goes through.

A decision that is added must be listed here: either it contacts customers, and then nobody without consent is in any of
its tables, or it describes all customers without contacting them.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import polars as pl
import pytest
from hydra.utils import instantiate

import propensity.decision
from propensity.data.event_log import EventLog, to_date
from propensity.data.offer.column import ColumnOffers
from propensity.decision.context import DecisionContext
from propensity.decision.history import PurchaseHistory
from propensity.decision.result import DecisionResult
from propensity.scores import Scores
from random_log import random_log

OFFERS = ("category 0", "category 1")
CONF = Path(__file__).parents[2] / "conf" / "decision"
EVERYBODY = "decision.share=1.0"
CONTACTING = {
    "audience": [EVERYBODY, "decision.offer='category 0'"],
    "campaign": ["decision.cost=0.0"],
    "next_best": ["decision.cost=0.0", "decision.count=2"],
    "channel": ["decision.default_cost=0.0"],
    "overlap": [EVERYBODY],
    "allocate": ["decision.budget=1000"],
    "lookalike": [EVERYBODY],
}
DESCRIBING = {"opportunity": [], "segment": ["decision.max_k=4"]}
CONTACTED = {
    "channel": pl.col("best_channel").is_not_null(),
    "next_best": pl.col("messages") > 0,
    "allocate": pl.col("play").is_not_null(),
}


def shop() -> tuple[EventLog, DecisionContext]:
    """A log in which some customers consented, and the context of its scores."""
    log = random_log(5, customers=90)
    words: dict[str, list[Any]] = {
        "suppressed": [False, True, None, False, False],
        "consent_app": [True, True, True, False, None],
        "consent_profiling": [None, True, None, None, None, None, False],
    }
    columns = {name: pl.Series([each[n % len(each)] for n in range(len(log))]) for name, each in words.items()}
    log = replace(log, customers=log.customers.with_columns(**columns))
    history = PurchaseHistory(log, ColumnOffers("category", min_buyers=1), log.last_day - 30)
    who = log.customer_id[np.sort(np.random.default_rng(1).permutation(len(log))[:70])]
    money = np.random.default_rng(0).gamma(1.0, 2.0, (who.size, 2)).astype(np.float32)
    scores = Scores(who, OFFERS, np.clip(money / 9, 0, 1), money, to_date(history.day).isoformat(), "test")
    return log, DecisionContext(scores, history=history)


def must_not(log: EventLog) -> set[Any]:
    """Customers who must not be contacted through any channel."""
    allowed = ~pl.col("suppressed").fill_null(False) & pl.col("consent_app")
    allowed &= pl.col("consent_profiling").fill_null(True)
    return set(log.customers.filter(~allowed.fill_null(False))["customer"].to_list())


def decisions() -> dict[str, set[str]]:
    """The targets of the decisions in conf/, and those in the package: callables that return a DecisionResult."""
    package: set[str] = set()
    for module in pkgutil.iter_modules(propensity.decision.__path__, "propensity.decision."):
        loaded = importlib.import_module(module.name)
        for name, owner in inspect.getmembers(loaded, inspect.isclass):
            call = owner.__dict__.get("__call__")
            if owner.__module__ == module.name and call and get_type_hints(call).get("return") is DecisionResult:
                package.add(f"{module.name}.{name}")
    texts = {file.stem: file.read_text() for file in CONF.glob("*.yaml")}
    targets = {
        line.split(":")[1].strip() for text in texts.values() for line in text.splitlines() if "_target_:" in line
    }
    return {"package": package, "conf": targets, "names": set(texts)}


def test_every_decision_is_listed_here() -> None:
    found = decisions()
    assert found["names"] == CONTACTING.keys() | DESCRIBING.keys()
    assert found["package"] == {target for target in found["conf"] if target.startswith("propensity.decision.")}


def result_of(name: str, composed: Callable[..., Any], context: DecisionContext, *more: str) -> DecisionResult:
    settings = (CONTACTING | DESCRIBING)[name]
    cfg = composed("decide", f"decision={name}", *settings, *more, "scores=x", "out=y").decision
    if name == "campaign":
        cfg["campaigns"] = [{"offer": offer, "days": [0, 1]} for offer in OFFERS]
    result: DecisionResult = instantiate(cfg, _convert_="all")(context)
    return result


def listed(name: str, result: DecisionResult) -> set[Any]:
    """Customers in the tables of a result who would be contacted."""
    customers: set[Any] = set()
    for table in (result.table, *result.extra_tables.values()):
        if "customer_id" in table.columns:
            rows = table.filter(CONTACTED[name]) if name in CONTACTED and table is result.table else table
            customers |= set(rows["customer_id"].to_list())
    return customers


@pytest.mark.parametrize("name", CONTACTING)
def test_nobody_without_consent_is_in_a_table_of_a_decision(name: str, composed: Callable[..., Any]) -> None:
    log, context = shop()
    result = result_of(name, composed, context)
    assert not listed(name, result) & must_not(log)
    consent = result.summary["consent"]
    assert consent["may_contact"] + sum(consent["left_out"].values()) == consent["customers"] == 70
    assert not consent["ignored"]
    ignored = result_of(name, composed, context, "decision.ignore_consent=true")
    assert ignored.summary["consent"]["ignored"] and any("consent is ignored" in each for each in ignored.sentences)
    if listed(name, result):
        assert listed(name, ignored) & must_not(log)


@pytest.mark.parametrize("name", CONTACTING)
def test_a_decision_asks_the_gate(name: str, composed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []
    gate = DecisionContext.reachable

    def spy(context: DecisionContext, channel: str | None) -> np.ndarray:
        asked.append(channel)
        return gate(context, channel)

    monkeypatch.setattr(DecisionContext, "reachable", spy)
    result_of(name, composed, shop()[1])
    assert asked
