"""Whatever consents, aliases, deliveries and dates a shop delivers: no decision contacts one whom it must not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from propensity.data.event_log import EventLog, to_date, to_day
from propensity.data.offer.column import ColumnOffers
from propensity.decision.audience import Audience
from propensity.decision.campaign import CampaignPlan
from propensity.decision.channel import Channel
from propensity.decision.context import DecisionContext
from propensity.decision.history import PurchaseHistory
from propensity.decision.next_best import NextBest
from propensity.errors import DataError, InfeasibleError
from propensity.ingest.rule.day import DayFormat
from propensity.ingest.source.consent import add_consents, merged_words, read_consents, with_refusals_of_owners
from propensity.ingest.source.delivery import open_files
from propensity.ingest.source.id_normalisation import IdFormat
from propensity.ingest.source.people import read_identity_map
from propensity.scores import Scores, scores_from, with_consents
from random_log import random_log

CUSTOMERS = 6
OFFERS = ("category 0", "category 1")
CUTOFF = to_day("2024-03-05")
CHANNELS = ("app", "Store", " STORE ", "", "All", "profiling")
PURPOSES = ("marketing", "profiling", "analytics", "")
WORDS = ("yes", "Opt-In", "1.0", "no", "0", "perhaps", "")
DAYS = ("2024-02-01", "2024-03-01", "2024-03-04", "2024-03-05", "2024-04-01", "soon", "")
ALIASES = {"old0": "0", "older0": "old0", "x1": "1"}
OWNERS = {"both": ("4", "5")}  # an id that the identity map gives to two customers
IDS = (*OWNERS, *(str(n) for n in range(CUSTOMERS)), *ALIASES, " 2 ", "3.0", "03")


class Entry(NamedTuple):
    """A row of a consents file."""

    customer: str
    channel: str
    consent: str
    day: str
    purpose: str = "marketing"


@cache
def shop() -> tuple[EventLog, Scores]:
    """A log of customers "0" to "5" and the same scores for all of them."""
    log = random_log(3, customers=CUSTOMERS)
    log = replace(log, customers=pl.DataFrame({"customer": [str(n) for n in range(len(log))]}))
    money = np.full((len(log), 2), 3.0, np.float32)
    return log, Scores(log.customer_id, OFFERS, money / 9, money, to_date(CUTOFF).isoformat(), "test")


def words_of(rows: Iterable[Entry], by_channel: bool, by_day: bool, by_purpose: bool = False) -> pl.DataFrame:
    """The customers of a delivery, with their words."""
    names = {"customer": "customer", "consent": "consent"}
    mapped = {"channel": by_channel, "day": by_day, "purpose": by_purpose}
    names |= {name: name for name, is_mapped in mapped.items() if is_mapped}
    log, _ = shop()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "consents.csv"
        quoted = ["customer,channel,consent,day,purpose", *(",".join(f'"{value}"' for value in row) for row in rows)]
        file.write_text("\n".join(quoted) + "\n")
        style, ids = DayFormat(None, None, None), IdFormat(padded=False)
        entries = read_consents(open_files(str(file), "data.source.consents", ","), names, ids, style)
        pairs = [*ALIASES.items(), *((alias, owner) for alias, owners in OWNERS.items() for owner in owners)]
        (Path(folder) / "people.csv").write_text("alias,customer\n" + "".join(f"{a},{c}\n" for a, c in pairs))
        people = open_files(f"{folder}/people.csv", "data.source.identity_map", ",")
        columns = {"alias": "alias", "customer": "customer"}
        aliases, ambiguous, _ = read_identity_map(people, columns, ids)
        entries = with_refusals_of_owners(entries, ambiguous)
        try:
            return add_consents(None, log.customers.lazy(), entries, aliases)[0].collect()
        except DataError:  # under half of the ids are those of the log
            reject()


def decided(customers: pl.DataFrame, carried: bool = False) -> dict[str, set[tuple[str, str | None]]]:
    """Contacts of every decision: customer and channel; `carried`: the scores bring the consents, without a log."""
    log, scores = shop()
    log = replace(log, customers=customers)
    history = PurchaseHistory(log, ColumnOffers("category", min_buyers=1), CUTOFF)
    context = DecisionContext(scores, history=history)
    if carried:
        table = with_consents(scores, log, np.arange(len(log))).frame()
        context = DecisionContext(scores_from(table, "scores")[0])
    result: dict[str, set[tuple[str, str | None]]] = {}

    def run(name: str, decision: Any, channel: str | None = None) -> None:
        try:
            table = decision(context).table
        except InfeasibleError:
            return
        if "best_channel" in table.columns:
            result[name] = set(table.drop_nulls("best_channel").select("customer_id", "best_channel").iter_rows())
        else:
            rows = table.filter(pl.col("messages") > 0) if "messages" in table.columns else table
            result[name] = {(customer, channel) for customer in rows["customer_id"]}

    for channel in (None, *context.gate.channels):
        campaigns = [{"offer": offer, "days": [0, 1], "channel": channel} for offer in OFFERS]
        run(f"audience {channel}", Audience(offer=OFFERS[0], share=1.0, channel=channel), channel)
        run(f"campaign {channel}", CampaignPlan(campaigns=campaigns, cost=0.0, prices=False), channel)
    run("next_best", NextBest(count=2, days=2, cost=0.0))
    if not carried:  # it counts purchases
        run("channel", Channel(default_cost=0.0))
    return result


def person(name: str) -> str:
    """The customer of an id, by the identity map and without blanks, decimals and leading zeros."""
    name = name.strip().removesuffix(".0")
    name = name.lstrip("0") or "0" if name.isdigit() else name
    return person(ALIASES[name]) if name in ALIASES else name


def refuses(row: Entry) -> bool:
    return row.consent not in ("yes", "Opt-In", "1.0")


def meant(row: Entry, by_channel: bool, by_purpose: bool) -> Iterable[Entry]:
    """The entries that a row stands for: of a customer and a channel, "" for all, or "profiling"."""
    channel = row.channel.strip().lower() if by_channel else ""
    channels = ["" if channel == "all" else channel]
    if by_purpose and row.purpose == "profiling":
        channels = ["profiling"]
    elif by_purpose and row.purpose != "marketing":
        channels = [*channels, "profiling"] if refuses(row) else []
    owners = OWNERS.get(row.customer, ()) if refuses(row) else ()
    return [row._replace(customer=c, channel=k) for c in (person(row.customer), *owners) for k in channels]


def word(rows: list[Entry], by_day: bool) -> bool | None:
    """What a customer said in the rows on one channel: True from before the cutoff on, False, or None."""
    if not rows:
        return None

    def day_of(row: Entry) -> date | None:
        return date.fromisoformat(row.day) if by_day and row.day[:1].isdigit() else None

    refusals = [day_of(row) for row in rows if refuses(row)]
    consents = [day_of(row) for row in rows if not refuses(row)]
    if refusals and (None in refusals or not consents):
        return False
    last = max((day for day in refusals if day), default=None)
    counted = [day for day in consents if last is None or (day is not None and day > last)]
    if not counted:
        return False
    known = [day for day in counted if day is not None]
    if not known or min(known) < to_date(CUTOFF):
        return True
    return None if last is None else False  # until the day of the consent, the withdrawal before it holds


def allowed(rows: list[Entry], by_channel: bool, by_day: bool, by_purpose: bool) -> set[tuple[str, str | None]]:
    """Customers who may be contacted through each channel, and (with None) through one or another."""
    rows = [entry for row in rows for entry in meant(row, by_channel, by_purpose)]
    channels = sorted({row.channel for row in rows} - {"", "profiling"})
    pairs: set[tuple[str, str | None]] = set()
    for customer in map(str, range(CUSTOMERS)):

        def said(channel: str, customer: str = customer) -> bool | None:
            return word([row for row in rows if (row.customer, row.channel) == (customer, channel)], by_day)

        if said("") is False or said("profiling") is False:
            continue
        pairs |= {(customer, channel) for channel in channels if said(channel)}
        if any(said(channel) for channel in channels) or (not channels and (said("") or not knows_consents(rows))):
            pairs.add((customer, None))
    return pairs


def knows_consents(rows: list[Entry]) -> bool:
    """Whether the log holds marketing consents; a file without any row means that nobody consented."""
    return not rows or any(row.channel != "profiling" for row in rows)


entries = st.lists(
    st.builds(Entry, *(st.sampled_from(each) for each in (IDS, CHANNELS, WORDS, DAYS, PURPOSES))), max_size=14
)  # fmt: skip


def check(
    first: list[Entry],
    second: list[Entry],
    by_channel: bool,
    by_day: bool,
    deliveries: int,
    by_purpose: bool,
    carried: bool,
) -> None:
    """Compare every decision with the oracle."""
    log, _ = shop()
    customers, rows = words_of(first, by_channel, by_day, by_purpose), list(first)
    if deliveries == 2:
        later, rows = words_of(second, by_channel, by_day, by_purpose), [*first, *second]
        both = pl.concat([customers, later], how="diagonal_relaxed")
        both = both.group_by("customer").agg(pl.all().drop_nulls().last()).sort("customer")
        customers = merged_words(both, customers, later)
    assert customers["customer"].to_list() == log.customers["customer"].to_list()
    may = allowed(rows, by_channel, by_day, by_purpose)
    any_channel = {c for c, channel in may if channel is None} if not channels_of(customers) else set()
    for name, contacts in decided(customers, carried).items():
        assert contacts <= may | {(c, channel) for c in any_channel for channel in ("app", "store")}, name
        if deliveries == 1 and name.startswith("audience"):
            channel = name.removeprefix("audience ")
            assert contacts == {pair for pair in may if str(pair[1]) == channel}, name


deliveries = {"first": entries, "second": entries, "by_channel": st.booleans(), "by_day": st.booleans()}
deliveries |= {"deliveries": st.integers(1, 2), "by_purpose": st.booleans(), "carried": st.booleans()}


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(**deliveries)
def test_no_decision_contacts_one_whom_it_must_not(**case: Any) -> None:
    check(**case)


@pytest.mark.long
@settings(max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(**deliveries)
def test_no_decision_contacts_one_whom_it_must_not_in_ten_thousand_shops(**case: Any) -> None:
    check(**case)


def channels_of(customers: pl.DataFrame) -> set[str]:
    """Channels that the log knows consents for."""
    return {name for name in customers.columns if name.startswith("consent_")} - {"consent_profiling"}


def test_the_gate_is_not_shut_for_everybody() -> None:
    rows = [Entry("old0", "app", "yes", "2024-02-01"), Entry("1", "app", "yes", "2024-02-01")]
    rows += [Entry("x1", "app", "no", "soon")]
    contacts = decided(words_of(rows, True, True))
    assert all({customer for customer, _ in pairs} == {"0"} for pairs in contacts.values()) and len(contacts) == 6
    assert to_date(CUTOFF) - timedelta(days=1) == date(2024, 3, 4)
