"""A run that was trained on registrants gives them the same scores in every way, and every other customer a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from hydra import compose, initialize_config_dir

from conftest import QUICK
from propensity.catalogue.score import score_requests
from propensity.command import typed
from propensity.config import conf_folder
from propensity.data.cutoff import parse_cutoff
from propensity.data.event_log import EventLog, to_day
from propensity.data.registrant import REGISTERED, SOURCE, registrants
from propensity.evaluation.evaluate import evaluate_run
from propensity.evaluation.leakage import changed_inputs
from propensity.feature.column import DEFAULT_GROUPS
from propensity.feature.engagement import ENGAGEMENT
from propensity.ingest.build import prepare
from propensity.ingest.source.synthetic import Synthetic
from propensity.kernel.event import EVERY_KIND
from propensity.metric.slice import NO_PURCHASE
from propensity.report.markdown import summary
from propensity.serving.batch import BatchConfig, score_bundle
from propensity.serving.bundle import open_bundle
from propensity.serving.export import export
from propensity.serving.online import OnlineScorer
from propensity.serving.schema import RawEvent, ScoreRequest
from propensity.serving.score import score
from propensity.training.checkpoint import load_trained
from propensity.training.run import train

pytestmark = pytest.mark.slow
MARKET = Synthetic(customers=60, items=16, categories=4, days=260, registrants=240)
END, CUTOFF = "2024-08-05", "2024-08-19"


class World(NamedTuple):
    """Folders of a log, a run that is evaluated at `CUTOFF`, and its bundle; and what was said while scoring."""

    log: Path
    run: Path
    bundle: Path
    scores: pl.DataFrame
    said: list[str]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder, said = tmp_path_factory.mktemp("registrants"), list[str]()
    log, run = folder / "log", folder / "run"
    prepare(MARKET, log)
    settings = ["data.offer.column=category", "data.offer.min_buyers=1", f"data.log={log}", f"data.end={END}"]
    settings += [f"data.feature.groups=[{','.join((*DEFAULT_GROUPS, ENGAGEMENT))}]"]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        train(typed(compose("train", overrides=[*settings, *QUICK, "data.horizon=14", f"out={run}"])))
        cfg = typed(compose("evaluate", overrides=[f"run={run}", f"cutoffs=[{CUTOFF}]", "baselines=[popularity]"]))
        evaluate_run(cfg, lambda text: None)
    export(run, folder / "bundle", ["onnx"], None, None, 100, 60, lambda text: None)
    score(run, CUTOFF, folder / "scores.parquet", None, said.append)
    return World(log, run, folder / "bundle", pl.read_parquet(folder / "scores.parquet"), said)


def same(actual: pl.DataFrame, expected: pl.DataFrame) -> None:
    keys = ["customer_id", "offer_id"]
    one, other = actual.sort(keys), expected.sort(keys)
    assert one.select(keys).equals(other.select(keys))
    np.testing.assert_allclose(one["score"], other["score"], atol=1e-5)
    np.testing.assert_allclose(one["expected_revenue"], other["expected_revenue"], rtol=2e-5, atol=1e-5)


def test_every_contact_has_a_score_or_a_reason(world: World) -> None:
    log, day = EventLog.open(world.log), to_day(CUTOFF)
    scored = set(world.scores["customer_id"])
    reasons = pl.read_parquet(world.run.parent / "scores.not_scored.parquet")
    assert set(log.customer_id[registrants(log, day)]) < scored and len(registrants(log, day)) > 60
    assert not scored & set(reasons["customer_id"]) and len(scored) + reasons.height == len(log)
    assert any(f"{reasons.height} customers have no score: " in text for text in world.said)


def test_a_bundle_gives_registrants_the_scores_of_the_run(world: World, tmp_path: Path) -> None:
    said = list[str]()
    score_bundle(world.bundle, str(world.log), CUTOFF, tmp_path / "scores", BatchConfig(part=50), said.append)
    same(pl.concat(map(pl.read_parquet, sorted((tmp_path / "scores").glob("part-*.parquet")))), world.scores)
    assert (
        any("customers have no score" in text for text in said) and (tmp_path / "scores.not_scored.parquet").is_file()
    )


def test_requests_of_registrants_have_the_scores_of_their_cutoff_and_every_other_a_reason(
    world: World, tmp_path: Path
) -> None:
    log, said = EventLog.open(world.log), list[str]()
    everybody = pl.DataFrame({"customer_id": log.customers["customer"], "cutoff": [CUTOFF] * len(log)})
    everybody.write_parquet(tmp_path / "requests.parquet")
    scored = score_requests(world.run, tmp_path / "requests.parquet", tmp_path / "s.parquet", say=said.append)
    same(scored, world.scores)
    reasons = pl.read_parquet(tmp_path / "s.not_scored.parquet")
    expected = pl.read_parquet(world.run.parent / "scores.not_scored.parquet")
    assert reasons.select("customer_id", "reason").sort("customer_id").equals(expected.sort("customer_id"))
    assert any(f"{expected.height} requests have no score: " in text for text in said)
    chosen = everybody.join(scored.select("customer_id").unique(), on="customer_id", how="semi")
    chosen.write_parquet(tmp_path / "requests.parquet")
    score_requests(world.run, tmp_path / "requests.parquet", tmp_path / "s.parquet")
    assert not (tmp_path / "s.not_scored.parquet").exists()


def raw_events(log: EventLog, row: int) -> list[RawEvent]:
    """A customer of the log as raw events."""
    registered, source = log.customers[row, REGISTERED], log.customers[row, SOURCE]
    events: list[dict[str, Any]] = [{"day": registered, "kind": "registration", "channel": source}]
    assert log.engagement is not None
    for part in (log, log.engagement):
        for e in range(part.offsets[row], part.offsets[row + 1]):
            item = part.items["item"][int(part.item[e])] if part.item[e] >= 0 else None
            day = pl.Series([int(part.day[e])]).cast(pl.Date)[0]
            one = {"day": day, "kind": EVERY_KIND[part.kind[e]], "channel": log.meta["channels"][part.channel[e]]}
            events.append(one | {"item": None if item is None else str(item), "revenue": float(part.revenue[e])})
    return [RawEvent(**event) for event in events]


def test_a_service_scores_registrants_by_their_id_and_by_their_events(world: World) -> None:
    scorer, log = OnlineScorer(open_bundle(world.bundle), world.log), EventLog.open(world.log)
    day = scorer.features.market_stats.cutoff.day
    expected = load_trained(world.run).task.scored_rows(log, day)
    chosen = np.intersect1d(registrants(log, day), expected)[::9].tolist()
    by_id = [scorer.validate(ScoreRequest(customer_id=str(log.customer_id[row]))) for row in chosen]
    by_events = [
        scorer.validate(ScoreRequest(events=raw_events(log, row))) for row in chosen if log.customers[row, REGISTERED]
    ]
    of_id, of_events = scorer.score(by_id), scorer.score(by_events)
    dated = [k for k, row in enumerate(chosen) if log.customers[row, REGISTERED]]
    assert len(dated) > 5
    for k, answer in zip(dated, of_events, strict=True):
        values = [[each["probability"] for each in one.scores] for one in (of_id[k], answer)]
        np.testing.assert_allclose(values[0], values[1], atol=1e-6)
    features, stats = scorer.bundle.features_at(log, scorer.features.market_stats.cutoff)
    inputs = features.inputs(stats, np.flatnonzero(np.isin(features.log.customer_id, log.customer_id[chosen])))
    probability = scorer.pair_scorer(inputs._asdict())[0]
    np.testing.assert_allclose([[each["probability"] for each in one.scores] for one in of_id], probability, atol=1e-5)


def test_the_page_and_the_metrics_have_a_slice_of_those_without_a_purchase(world: World) -> None:
    metrics = json.loads((world.run / "metrics.json").read_text())
    assert metrics["counts"][CUTOFF]["slices"][NO_PURCHASE]["pairs"] > 0
    assert {"value", "low", "high"} <= set(
        metrics["expected_over_observed"]["network"]["purchases"]["slices"][NO_PURCHASE]
    )
    assert f"| {NO_PURCHASE} |" in summary(metrics)


def test_the_future_of_a_run_with_registrants_reaches_no_input(world: World) -> None:
    trained, log = load_trained(world.run), EventLog.open(world.log)

    def prepared(other: EventLog) -> Any:
        return trained.task.cutoff_data(other, parse_cutoff(log, CUTOFF, 14), trained.vocabulary)

    assert trained.task.registrants and changed_inputs(prepared, log, to_day(CUTOFF), 3) == []
