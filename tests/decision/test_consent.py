"""The consent gate: no decision contacts a customer who must not be, whatever the sources look like."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from conftest import SMALL
from propensity.config import conf_folder
from propensity.data.cutoff import TrainingCutoffs
from propensity.data.event_log import COLUMNS, EventLog, to_date
from propensity.data.offer.column import ColumnOffers
from propensity.data.unsubscribe import customers_with_words
from propensity.decision.allocate import Allocate
from propensity.decision.audience import Audience
from propensity.decision.campaign import CampaignPlan
from propensity.decision.channel import Channel
from propensity.decision.context import DecisionContext, gather
from propensity.decision.history import PurchaseHistory
from propensity.decision.next_best import NextBest
from propensity.decision.overlap import Overlap
from propensity.decision.result import save
from propensity.errors import ConfigurationError, DataError, InfeasibleError
from propensity.kernel.event import COMPLAINT, MESSAGE, UNSUBSCRIBE
from propensity.scores import Scores, save_scores, score_warnings, scores_from, with_consents
from propensity.task import Task
from random_log import random_log
from test_straight_line import script

Compose = Callable[..., Any]
OFFERS = ("category 0", "category 1")
CUTOFF_BACK = 30


def log_with(seed: int = 5, customers: int = 60, **columns: Any) -> EventLog:
    """A random log whose customers have further columns, each a list of values that is repeated."""
    log = random_log(seed, customers=customers)
    values = {name: [list(words)[n % len(words)] for n in range(len(log))] for name, words in columns.items()}
    return replace(log, customers=log.customers.with_columns(**{n: pl.Series(v) for n, v in values.items()}))


def context_of(log: EventLog, **changes: Any) -> DecisionContext:
    history = PurchaseHistory(log, ColumnOffers("category", min_buyers=1), log.last_day - CUTOFF_BACK)
    who = log.customer_id[replace(log, customers=log.customers.select("customer")).purchasers(history.day)]
    money = np.random.default_rng(0).gamma(1.0, 2.0, (who.size, len(OFFERS))).astype(np.float32)
    scores = Scores(who, OFFERS, np.clip(money / 9, 0, 1), money, to_date(history.day).isoformat(), "test")
    return replace(DecisionContext(scores, history=history), **changes)


def run_folder(log: EventLog, folder: Path, compose: Callable[..., Any]) -> Path:
    """A run: the log, its configuration and scores; returns the file of scores."""
    log.save(folder / "log")
    small = [setting for setting in SMALL if not setting.startswith("data.source")]
    cfg = compose("train", *small, "data.offer.column=category", f"data.log={folder}/log", "out=x")
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(cfg))
    save_scores([context_of(log).scores], folder / "scores.parquet")
    return folder / "scores.parquet"


def read(scores: Path, **files: Any) -> DecisionContext:
    given = {"customers": None, "contacts": None, "log": None} | {k: str(v) for k, v in files.items()}
    return gather(str(scores), None, given["customers"], given["contacts"], given["log"], 1, lambda _: None)


def ids_where(log: EventLog, condition: pl.Expr) -> set[Any]:
    return set(log.customers.filter(condition)["customer"].to_list())


CONTACTING: dict[str, tuple[Callable[..., Any], Callable[[Any], pl.DataFrame]]] = {
    "allocate": (lambda **s: Allocate(cost=0.0, **s), lambda r: r.table.drop_nulls("play")),
    "audience": (lambda **s: Audience(offer=OFFERS[0], share=1.0, **s), lambda r: r.table),
    "campaign": (
        lambda **s: CampaignPlan(campaigns=[{"offer": o, "days": [d]} for d, o in enumerate(OFFERS)], cost=0.0, **s),
        lambda r: r.table,
    ),
    "next_best": (
        lambda **s: NextBest(count=2, days=3, cost=0.0, **s),
        lambda r: pl.concat([t.select("customer_id") for t in r.extra_tables.values()]),
    ),
    "channel": (lambda **s: Channel(default_cost=0.0, **s), lambda r: r.table.drop_nulls("best_channel")),
}


def contacted(name: str, context: DecisionContext, **settings: Any) -> set[Any]:
    decision, table = CONTACTING[name]
    return set(table(decision(**settings)(context))["customer_id"].to_list())


@pytest.mark.parametrize("name", CONTACTING)
def test_who_withdrew_or_said_nothing_in_the_log_is_contacted_by_no_decision(name: str) -> None:
    log = log_with(suppressed=[False, True, None])
    context = context_of(log)
    chosen = contacted(name, context)
    assert chosen and chosen <= ids_where(log, pl.col("suppressed").not_())
    assert contacted(name, context, ignore_consent=True) - ids_where(log, pl.col("suppressed").not_())


@pytest.mark.parametrize("name", CONTACTING)
def test_guests_and_objectors_to_profiling_are_contacted_by_no_decision(name: str) -> None:
    log = log_with(consent_profiling=[None, True, False], guest=["no", "no", "yes", "no"])
    chosen = contacted(name, context_of(log))
    allowed = ids_where(log, pl.col("consent_profiling").fill_null(True) & (pl.col("guest") == "no"))
    assert chosen and chosen <= allowed


def test_everybody_is_counted_once_by_the_reason_for_which_he_is_left_out() -> None:
    log = log_with(suppressed=[False, True, None], guest=[False, False, False, True])
    result = Audience(offer=OFFERS[0], share=1.0)(context_of(log))
    consent = result.summary["consent"]
    assert set(consent["left_out"]) == {"guest", "suppressed", "no word on consent"}
    assert consent["may_contact"] + sum(consent["left_out"].values()) == consent["customers"]
    assert f"of {consent['may_contact']:,} customers who may be contacted" in result.sentences[0]
    ignored = Audience(offer=OFFERS[0], share=1.0, ignore_consent=True)(context_of(log))
    assert ignored.summary["consent"]["ignored"] and any("consent is ignored" in s for s in ignored.sentences)
    assert ignored.summary["customers"] == consent["customers"]


def test_without_a_named_channel_one_consent_is_needed_and_with_it_that_one() -> None:
    log = log_with(consent_store=[True, False, None], consent_app=[False, False, True, True])
    context = context_of(log)
    either = ids_where(log, pl.col("consent_store").fill_null(False) | pl.col("consent_app"))
    assert contacted("audience", context) == either & set(context.scores.customer)
    store = Audience(offer=OFFERS[0], share=1.0, channel="Store")(context)
    assert set(store.table["customer_id"]) == ids_where(log, pl.col("consent_store")) & set(context.scores.customer)
    assert any("no channel is named" in s for s in Audience(offer=OFFERS[0])(context).sentences)
    with pytest.raises(ConfigurationError, match="customers have no column consent_fax"):
        Audience(offer=OFFERS[0], channel="fax")(context)


def test_a_consent_given_on_the_cutoff_or_later_is_not_known_at_the_cutoff() -> None:
    log = log_with()
    day = log.last_day - CUTOFF_BACK
    log = replace(
        log,
        customers=log.customers.with_columns(
            consent_app=pl.lit(True), consented_app=pl.lit(to_date(day)) - pl.duration(days=pl.int_range(pl.len()) % 2)
        ),
    )
    context = context_of(log)
    before = ids_where(log, pl.col("consented_app") < to_date(day))
    assert contacted("audience", context) == before & set(context.scores.customer)


def test_the_consents_of_the_runs_log_are_read_without_being_asked(
    composed: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = log_with(suppressed=[False, True, None])
    scores = run_folder(log, tmp_path, composed)
    given = ["decision=audience", f"scores={scores}", "decision.share=1.0", "decision.offer='category 0'"]
    script("decide").main(composed("decide", *given, f"out={tmp_path}/a"))
    chosen = set(pl.read_parquet(tmp_path / "a" / "audience.parquet")["customer_id"].to_list())
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())["consent"]
    assert chosen == ids_where(log, pl.col("suppressed").not_()) & set(context_of(log).scores.customer)
    assert summary["may_contact"] == len(chosen) and not summary["ignored"]
    assert f"of {len(chosen)} customers who may be contacted" in capsys.readouterr().out.replace("\n", " ")
    script("decide").main(composed("decide", *given, f"out={tmp_path}/b", "decision.ignore_consent=true"))
    summary = json.loads((tmp_path / "b" / "summary.json").read_text())["consent"]
    assert summary["ignored"] and pl.read_parquet(tmp_path / "b" / "audience.parquet").height == summary["customers"]


def test_without_any_source_the_result_says_that_consents_are_unknown() -> None:
    result = Audience(offer=OFFERS[0])(context_of(log_with(), history=None))
    assert not result.summary["consent"]["known"] and any("consents are unknown" in s for s in result.sentences)
    assert all("unknown" not in s for s in Audience(offer=OFFERS[0])(context_of(log_with())).sentences[2:])


def test_a_log_that_is_given_beside_scores_without_a_run_is_respected(tmp_path: Path, composed: Compose) -> None:
    log = log_with(consent=["yes", "no", ""])
    run_folder(log, tmp_path, composed)
    save_scores([context_of(log).scores], tmp_path / "elsewhere" / "scores.parquet")
    context = read(tmp_path / "elsewhere" / "scores.parquet", log=tmp_path / "log")
    assert contacted("audience", context) <= ids_where(log, pl.col("consent") == "yes")


def test_scores_whose_log_is_gone_are_refused_unless_customers_or_the_setting_say_so(
    composed: Compose, tmp_path: Path
) -> None:
    log = log_with(suppressed=[False, True])
    scores = run_folder(log, tmp_path, composed)
    (tmp_path / "log").rename(tmp_path / "moved")
    for decision, _ in list(CONTACTING.values())[:3]:
        with pytest.raises(
            InfeasibleError, match="comes without consents, because the event log .* is not there; give"
        ):
            decision()(read(scores))
    assert contacted("audience", read(scores), ignore_consent=True)
    table = tmp_path / "people.parquet"
    log.customers.rename({"customer": "customer_id"}).write_parquet(table)
    allowed = ids_where(log, pl.col("suppressed").not_())
    assert contacted("audience", read(scores, customers=table)) <= allowed
    table.rename(tmp_path / "customers.parquet")
    assert contacted("audience", read(scores)) <= allowed


def test_ids_are_compared_in_one_form_whatever_the_file(tmp_path: Path) -> None:
    ids = [f"{n:03d}" for n in range(8, 24)]
    chance = np.full((16, 2), 0.5, np.float32)
    save_scores([Scores(np.array(ids), OFFERS, chance, chance, "2024-03-04", "x")], tmp_path / "scores.parquet")
    out = [n % 2 == 0 for n in range(16)]
    numbers = pl.DataFrame({"customer_id": [int(i) for i in ids], "suppressed": out})
    numbers.write_parquet(tmp_path / "p.parquet")
    numbers.write_csv(tmp_path / "p.csv")
    numbers.with_columns(pl.col("customer_id").cast(pl.Float64)).write_parquet(tmp_path / "f.parquet")
    numbers.with_columns(customer_id=pl.Series([f" {i} " for i in ids])).write_csv(tmp_path / "t.csv")
    for name in ("p.parquet", "p.csv", "f.parquet", "t.csv"):
        context = read(tmp_path / "scores.parquet", customers=tmp_path / name)
        assert contacted("audience", context) == set(ids[1::2]), name


@pytest.mark.parametrize("setting", ["customers", "contacts"])
def test_a_file_of_other_customers_is_refused(setting: str, tmp_path: Path) -> None:
    chance = np.full((10, 2), 0.5, np.float32)
    save_scores([Scores(np.arange(10), OFFERS, chance, chance, "2024-03-04", "x")], tmp_path / "scores.parquet")
    for matching in (0, 4):
        ids = [str(n) if n < matching else f"c{n}" for n in range(10)]
        pl.DataFrame({"customer_id": ids, "day": "2024-03-01"}).write_csv(tmp_path / "f.csv")
        with pytest.raises(DataError, match=f"{matching} of 10 customers of .*f.csv are among the 10 of the scores"):
            read(tmp_path / "scores.parquet", **{setting: tmp_path / "f.csv"})


def test_objectors_to_profiling_are_in_no_table_of_any_decision(composed: Compose, tmp_path: Path) -> None:
    log = log_with(consent_profiling=[None, False, True])
    scores = run_folder(log, tmp_path, composed)
    allowed, context = ids_where(log, pl.col("consent_profiling").fill_null(True)), read(scores)
    gone = context.profiling_objectors
    assert gone and set(context.scores.customer) <= allowed
    for option in sorted(LISTS | GROUPS.keys()):
        small = ("decision.max_k=4",) if option == "segment" else ()
        cfg = composed("decide", f"decision={option}", *small, "scores=x", "out=y").decision
        result = instantiate(cfg, _convert_="all")(context)
        for table in (result.table, *result.extra_tables.values()):
            if "customer_id" in table.columns:
                assert set(table["customer_id"]) <= allowed, option
        assert result.summary["consent"]["left_out"]["objects to profiling"] == gone
    assert context.history is not None and set(log.customer_id[context.history.purchasers()]) <= allowed


def test_an_overlap_is_of_audiences_that_may_be_contacted() -> None:
    log = log_with(suppressed=[False, True])
    whole, part = context_of(log), context_of(log)
    mask = part.reachable(None)
    assert Overlap(share=0.2)(whole).summary["audience"] == max(1, round(0.2 * mask.sum()))
    with pytest.raises(InfeasibleError, match="customers may be contacted; score customers who consented"):
        Overlap()(context_of(log_with(suppressed=[True])))


def test_messages_of_the_log_before_the_cutoff_count_for_the_caps() -> None:
    log = random_log(5, customers=60)
    first = log.last_day - CUTOFF_BACK
    event = (log.day < first) & (log.day >= first - 6)
    log = replace(log, kind=np.where(event, MESSAGE, log.kind).astype(np.int8))
    context = context_of(log)
    plan = CampaignPlan(campaigns=[{"offer": OFFERS[0], "days": [0]}], week=1, cost=0.0)
    owner = np.searchsorted(log.offsets, np.flatnonzero((log.kind == MESSAGE) & event), side="right") - 1
    written_to = set(log.customer_id[owner]) & set(context.scores.customer)
    assert written_to and not written_to & set(plan(context).table["customer_id"])
    late = replace(log, day=np.where(event & (log.kind == MESSAGE), log.day - 6, log.day).astype(np.int32))
    assert written_to & set(plan(replace(context, history=replace(context.history, log=late))).table["customer_id"])  # type: ignore[type-var]


LISTS = {
    "allocate",
    "audience",
    "campaign",
    "channel",
    "lookalike",
    "next_best",
    "overlap",
}  # decisions whose customers will be contacted
GROUPS = {"segment": "groups of all customers", "opportunity": "sums over all customers"}  # what the others give


def test_every_decision_passes_the_gate_or_lists_nobody_to_be_contacted(
    composed: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = {path.stem for path in (conf_folder() / "decision").glob("*.yaml")}
    assert kinds == LISTS | GROUPS.keys(), "a new decision stands in one of the two, and the gate is reachable()"
    log = log_with(suppressed=[False, True, None], consent_profiling=[None, None, None, False])
    context = context_of(log)
    gate, asked = DecisionContext.reachable, set[str | None]()

    def watched(context: DecisionContext, channel: str | None) -> np.ndarray:
        asked.add(channel)
        return gate(context, channel)

    monkeypatch.setattr(DecisionContext, "reachable", watched)
    for kind in sorted(LISTS):
        asked.clear()
        decision = instantiate(composed("decide", f"decision={kind}", "scores=x", "out=y").decision)
        result = decision(context)
        assert asked, kind
        assert result.summary["consent"]["left_out"].keys() >= {"suppressed", "no word on consent"}, kind
        nobody = context_of(log_with(suppressed=[True]))
        if kind == "channel":  # says of every customer through which channel, which may be none
            assert decision(nobody).table["best_channel"].is_null().all()
            continue
        with pytest.raises(InfeasibleError):
            decision(nobody)


@pytest.mark.parametrize("words", [{"suppressed": [False, True, None]}, {"consent_store": ["yes", "no", ""]}])
def test_scores_bring_the_consents_of_their_log_wherever_they_lie(words: dict[str, Any], tmp_path: Path) -> None:
    log = log_with(**words)
    scores = context_of(log).scores
    carrying = with_consents(scores, log, np.searchsorted(log.customer_id, scores.customer))
    save_scores([carrying], tmp_path / "scores.parquet")
    allowed = ids_where(log, pl.all_horizontal((pl.col(n) == v[0]) for n, v in words.items()))
    chosen = contacted("audience", read(tmp_path / "scores.parquet"))
    assert chosen == allowed & set(scores.customer)
    table = pl.read_parquet(tmp_path / "scores.parquet").filter(pl.col("offer_id") == OFFERS[0]).sample(fraction=0.5)
    table.write_parquet(tmp_path / "part.parquet")
    assert contacted("audience", read(tmp_path / "part.parquet")) <= allowed


def test_scores_name_the_log_in_which_later_withdrawals_stand(tmp_path: Path) -> None:
    log = log_with()
    log.save(tmp_path / "log")
    save_scores([context_of(log).scores], tmp_path / "scores.parquet", log=tmp_path / "log")
    assert contacted("audience", read(tmp_path / "scores.parquet")) == set(context_of(log).scores.customer)
    later = log_with(suppressed=[False, True])
    later.save(tmp_path / "log")
    assert contacted("audience", read(tmp_path / "scores.parquet")) <= ids_where(later, ~pl.col("suppressed"))


def test_an_objector_to_profiling_is_in_no_training_example_and_no_score() -> None:
    day = random_log(5, customers=60).last_day - CUTOFF_BACK
    log = log_with(consent_profiling=["", "no", "perhaps", "yes"])
    allowed = ids_where(log, pl.col("consent_profiling").is_in(["", "yes"]))
    whole = log_with()
    for log_of_day in (log, log.before(day)):
        scored = set(log_of_day.customer_id[log_of_day.purchasers(day)].tolist())
        assert scored == set(whole.customer_id[whole.purchasers(day)].tolist()) & allowed
        assert scored.isdisjoint(log_of_day.customer_id[log_of_day.guests(day)].tolist())
    task = Task(ColumnOffers("category", min_buyers=1), horizon=7, cutoff=TrainingCutoffs(count=3))
    training_set = task.training_set(log)
    assert all(set(each.customer_id.tolist()) <= allowed for each in training_set.cutoffs_data)


def test_an_objection_holds_until_the_day_of_a_later_consent() -> None:
    log = log_with()
    day = to_date(log.last_day)
    words = {"consent_profiling": True, "consented_profiling": day, "withdrawn_profiling": to_date(log.last_day - 99)}
    log = replace(log, customers=log.customers.with_columns(**{name: pl.lit(word) for name, word in words.items()}))
    assert log.purchasers(log.last_day).size == 0 and log.purchasers(log.last_day + 1).size
    never_objected = replace(log, customers=log.customers.drop("withdrawn_profiling"))
    assert never_objected.purchasers(log.last_day).size


def test_ignored_consent_stands_in_every_table_that_is_written(tmp_path: Path) -> None:
    context = context_of(log_with(suppressed=[False, True]))
    for ignore in (False, True):
        save(Audience(offer=OFFERS[0], ignore_consent=ignore)(context), tmp_path / str(ignore))
        assert ("consent is ignored" in str(score_warnings(tmp_path / str(ignore) / "audience.parquet"))) == ignore


@pytest.mark.parametrize("words", [{}, {"suppressed": [False]}, {"consent_app": [True], "consent_store": [True]}])
def test_who_unsubscribed_or_complained_is_contacted_no_more(words: dict[str, Any]) -> None:
    log = log_with(**words)
    channels = {name: code for code, name in enumerate(log.meta["channels"])}
    size, app = np.zeros(len(log), np.int64), channels["app"]
    size[[3, 8, 9]] = 1
    columns = {name: np.zeros(3, kind) for name, kind in COLUMNS.items()}
    columns |= {"day": np.full(3, log.last_day, np.int32), "channel": np.array([app, app, -1], np.int8)}
    columns["kind"] = np.array([UNSUBSCRIBE, COMPLAINT, UNSUBSCRIBE], np.int8)
    events = log.sibling({"offsets": np.concatenate([[0], np.cumsum(size)]).astype(np.int64), **columns})
    context = context_of(replace(log, engagement=events))
    everybody, (one, *others) = set(context.scores.customer), log.customer_id[[3, 8, 9]]
    by_channel = "consent_app" in words
    assert contacted("audience", context) == everybody - {*others, *([] if by_channel else [one])}
    if by_channel:
        assert set(Audience(offer=OFFERS[0], share=1.0, channel="app")(context).table["customer_id"]) == everybody - {
            one,
            *others,
        }
    rows = np.searchsorted(log.customer_id, context.scores.customer)
    table = with_consents(context.scores, replace(log, engagement=events), rows).frame()
    assert contacted("audience", DecisionContext(scores_from(table, "scores")[0])) == contacted("audience", context)
    day = pl.lit(to_date(log.last_day + 1))
    if "suppressed" in words:
        later = replace(log, engagement=events, customers=log.customers.with_columns(consented=day))
        assert not customers_with_words(later)["unsubscribed"].drop_nulls().len()


def test_channels_are_one_whatever_their_case_and_blanks() -> None:
    log = log_with(Consent_Store=["yes", "no"])
    chosen = Audience(offer=OFFERS[0], share=1.0, channel=" STORE ")(context_of(log)).table
    assert set(chosen["customer_id"]) <= ids_where(log, pl.col("Consent_Store") == "yes")
    campaigns: list[dict[str, Any]] = [
        {"offer": OFFERS[0], "days": [0], "channel": "Store"},
        {"offer": OFFERS[1], "channel": "store"},
    ]
    plan = CampaignPlan(campaigns=campaigns, cost=0.0, capacity={"STORE": 3}, prices=False)(context_of(log))
    assert 0 < plan.table.height <= 3
