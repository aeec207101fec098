"""Reasons of runs and bundles: exact contributions by group, the same from both, in the service and in files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.config import DecideConfig, ExplainConfig
from propensity.data.event_log import to_date
from propensity.errors import ConfigurationError
from propensity.explain.coalition import column_masks
from propensity.explain.model import log_odds_of
from propensity.explain.opened import OTHER, OpenedCutoff
from propensity.explain.reasons import Explainer
from propensity.explain.reliance import reliance
from propensity.feature.reason import REASONS
from propensity.report.explain import show_reasons
from propensity.serving.batch import BatchConfig, score_bundle
from propensity.serving.bundle import open_bundle
from propensity.serving.explain import explain, open_cutoff, with_reasons
from propensity.serving.online import OnlineScorer
from propensity.serving.schema import RawEvent, ScoreRequest
from serving.exported import Exported


@pytest.fixture(scope="module")
def scorer(exported: Exported) -> OnlineScorer:
    return OnlineScorer(open_bundle(exported.bundle))


@pytest.fixture(scope="module", params=["network", "stack"])
def folders(request: pytest.FixtureRequest) -> Exported:
    """A run and its bundle, of the network alone and of a stack."""
    fixture = {"network": "exported", "stack": "stacked"}[request.param]
    result: Exported = request.getfixturevalue(fixture)
    return result


@pytest.fixture(scope="module")
def of_run(folders: Exported) -> OpenedCutoff:
    return open_cutoff(folders.run, folders.cutoff, str(folders.log))


@pytest.fixture(scope="module")
def of_bundle(folders: Exported) -> OpenedCutoff:
    return open_cutoff(folders.bundle, folders.cutoff, str(folders.log))


def purchases(scorer: OnlineScorer, days: list[int], place: int = 0) -> list[RawEvent]:
    """Purchases of an item of an offer, on days counted back from the cutoff of the tables."""
    offers = scorer.features.offers
    item = int(np.flatnonzero(np.diff(offers.item_offsets) > 0)[place])
    name, first = str(scorer.features.tables["item"][item]), scorer.features.market_stats.cutoff.day
    return [RawEvent(day=to_date(first - back), item=name, revenue=3.0) for back in days]


def pairs(opened: OpenedCutoff) -> Iterator[tuple[int, int]]:
    for place, row in enumerate(opened.rows[:: max(opened.rows.size // 4, 1)].tolist()):
        yield row, place % len(opened.explainer.features.offers)


def test_contributions_add_up_to_the_score_minus_the_baseline(of_run: OpenedCutoff) -> None:
    for row, offer in pairs(of_run):
        inputs = of_run.inputs(row)
        reasons = of_run.explainer.explain(inputs, 0, offer)
        assert reasons.base_value + reasons.total == pytest.approx(reasons.score, abs=1e-9)
        assert reasons.score == pytest.approx(of_run.explainer.log_odds(inputs)[0, offer], abs=1e-4)


def test_all_scores_have_one_baseline(of_run: OpenedCutoff) -> None:
    values = [of_run.explainer.explain(of_run.inputs(row), 0, offer).base_value for row, offer in pairs(of_run)]
    np.testing.assert_allclose(values, values[0], atol=1e-5)


def test_a_bundle_gives_the_reasons_of_its_run(of_run: OpenedCutoff, of_bundle: OpenedCutoff) -> None:
    for row, offer in pairs(of_run):
        one, other = (each.explainer.explain(each.inputs(row), 0, offer) for each in (of_run, of_bundle))
        assert one.contribution.keys() == other.contribution.keys()
        for name, value in one.contribution.items():
            assert other.contribution[name] == pytest.approx(value, abs=2e-4)
        assert [one.sentence(name) for name in REASONS] == [other.sentence(name) for name in REASONS]


def test_the_order_of_the_groups_changes_nothing(of_run: OpenedCutoff) -> None:
    explainer = of_run.explainer
    other = Explainer(explainer.log_odds, explainer.features, explainer.market_stats, explainer.others)
    other.masks = dict(reversed(column_masks(explainer.features.config).items()))
    for row, offer in pairs(of_run):
        one, two = (each.explain(of_run.inputs(row), 0, offer).contribution for each in (explainer, other))
        assert list(one) != list(two)
        for name, value in one.items():
            assert two[name] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("name", ["frequency", "price"])
def test_a_group_that_the_model_does_not_read_gets_nothing(of_run: OpenedCutoff, name: str) -> None:
    """The model reads only the other columns of the pair."""
    explainer, config = of_run.explainer, of_run.explainer.features.config
    read = np.array([column.reason != name for column in config.columns["pair"]])

    def log_odds(inputs: Any) -> np.ndarray:
        return np.asarray(np.nan_to_num(np.asarray(inputs.pair)[..., read]).sum(axis=-1, dtype=np.float64))

    limited = Explainer(log_odds, explainer.features, explainer.market_stats, explainer.others)
    contributions = [limited.explain(of_run.inputs(row), 0, offer).contribution for row, offer in pairs(of_run)]
    assert any(name in each for each in contributions)
    assert all(each.get(name, 0.0) == 0.0 for each in contributions)  # type: ignore[call-overload]
    assert all(any(value != 0 for value in each.values()) for each in contributions)


@pytest.mark.parametrize("days", [[], [3], [2, 9, 16, 23], list(range(1, 60))])
def test_the_service_gives_sentences_that_add_up(scorer: OnlineScorer, days: list[int]) -> None:
    (response,) = scorer.score([scorer.validate(ScoreRequest(events=purchases(scorer, days), reasons=5))])
    explanation = response.explanation
    assert explanation is not None
    best = max(response.scores, key=lambda each: each["probability"])
    assert explanation.offer_id == best["offer_id"]
    total = explanation.base_value + explanation.other + sum(each.contribution for each in explanation.reasons)
    assert total == pytest.approx(explanation.score, abs=1e-9)
    assert explanation.score == pytest.approx(log_odds_of(np.array(best["probability"])), abs=1e-4)
    assert len(explanation.reasons) <= 5
    titles = {group.title for group in REASONS.values()}
    assert all(each.feature in titles and each.sentence.endswith(".") for each in explanation.reasons)


def test_a_later_cutoff_of_the_service_changes_the_words(scorer: OnlineScorer) -> None:
    first = to_date(scorer.features.market_stats.cutoff.day)
    events = purchases(scorer, [3, 10])
    texts = []
    for cutoff in (first, to_date(scorer.features.market_stats.cutoff.day + 7)):
        request = scorer.validate(ScoreRequest(events=events, cutoff=cutoff, reasons=50))
        (response,) = scorer.score([request])
        assert response.explanation is not None
        texts.append([each.sentence for each in response.explanation.reasons])
    assert texts[0] != texts[1]


def test_reasons_in_files_add_up_to_the_score(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="reasons for all pairs take too long; add top or"):
        BatchConfig(reasons=3)
    for config in (BatchConfig(top=2, reasons=5), BatchConfig(top_per_customer=1, reasons=2)):
        out = tmp_path / f"out-{config.reasons}"
        score_bundle(exported.bundle, str(exported.log), exported.cutoff, out, config, lambda text: None)
        table = pl.concat([pl.read_parquet(path) for path in out.glob("part-*.parquet")])
        total = table["base_value"] + table["reasons"].list.eval(pl.element().struct.field("contribution")).list.sum()
        np.testing.assert_allclose(total, log_odds_of(table["score"].to_numpy()), atol=1e-4)
        assert (table["reasons"].list.len() <= (config.reasons or 0) + 1).all()
        assert (table["reasons"].list.last().struct.field("feature") == OTHER).all()
        assert table["why"].str.contains("odds").any() and table["why"].null_count() == 0


def test_the_reliance_is_the_mean_of_absolute_contributions_with_an_interval(of_run: OpenedCutoff) -> None:
    section = reliance(of_run, 5)
    assert section == reliance(of_run, 5) and json.loads(json.dumps(section)) == section
    assert section["customers"] == 5 and [each["name"] for each in section["groups"]] == list(REASONS)
    for group in section["groups"]:
        for kind in ("any", "best"):
            assert 0 <= group[kind]["low"] <= group[kind]["value"] <= group[kind]["high"]
    assert all(0 < value <= 1 for value in section["carried"].values())


def settings(exported: Exported, out: Path, **changes: Any) -> ExplainConfig:
    values = {"run": str(exported.run), "cutoff": exported.cutoff, "log": str(exported.log), "customers": 0}
    return ExplainConfig(**{**values, "out": str(out), **changes})


def test_the_command_explains_a_customer_and_writes_the_reliance(exported: Exported, tmp_path: Path) -> None:
    opened = open_cutoff(exported.run, exported.cutoff, str(exported.log))
    customer, offer = next(iter(opened.row)), opened.explainer.features.offers.name[0]
    out = tmp_path / "reliance.json"
    result = explain(settings(exported, out, customer=customer, offer=offer, customers=2, reasons=3), lambda text: None)
    assert result.reasons is not None and len(result.largest) <= 3
    assert result.largest == opened.explain(customer, offer).largest(3)
    assert json.loads(out.read_text()) == result.section
    best = explain(settings(exported, out, customer=customer), lambda text: None).reasons
    assert best is not None and best.score >= result.reasons.score - 1e-4


def test_the_printed_values_are_log_odds_that_add_up_to_the_score(
    of_run: OpenedCutoff, capsys: pytest.CaptureFixture[str]
) -> None:
    row, offer = next(pairs(of_run))
    reasons = of_run.explainer.explain(of_run.inputs(row), 0, offer)
    show_reasons(reasons, reasons.largest(3))
    head = capsys.readouterr().out
    values = [float(each) for each in re.findall(r"^  ([+-]\d+\.\d\d)  ", head, re.MULTILINE)]
    text = " ".join(head.split())
    assert "Base value: a customer without history" in text and "all values are log-odds" in text
    assert values[0] == pytest.approx(reasons.base_value, abs=0.006) and len(values) == 5
    assert sum(values) == pytest.approx(reasons.score, abs=0.03)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"run": None}, "explain either a run or a bundle"),
        ({"customer": "nobody"}, "customer 'nobody' has no purchase before"),
        ({"offer": "x"}, "offer=x needs a customer; give customer=<id>"),
        ({"reasons": 0}, "reasons=0 must be at least 1"),
        ({"customers": -1}, "customers=-1 at least 0"),
    ],
)
def test_the_command_refuses_what_it_cannot_explain(
    exported: Exported, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        explain(settings(exported, tmp_path / "out.json", **changes), lambda text: None)


def test_a_send_list_has_the_reasons_of_its_scores(exported: Exported, tmp_path: Path) -> None:
    from propensity.decision.audience import Audience
    from propensity.decision.context import gather
    from propensity.serving.score import score

    path = tmp_path / "scores.parquet"
    scores = score(exported.run, exported.cutoff, path, str(exported.log), lambda text: None)
    context = gather(str(path), None, None, None, str(exported.log), 17, lambda text: None)
    result = Audience(size=3)(context.with_consent(True))
    cfg = DecideConfig(
        decision={}, scores=str(path), out="", log=str(exported.log), reasons=2, reasons_from=str(exported.run)
    )
    table = with_reasons(result, scores.cutoff, cfg, lambda text: None).table
    assert table.drop("base_value", "reasons", "why").equals(result.table)
    place = {str(customer): n for n, customer in enumerate(scores.customer.tolist())}
    for customer, offer, base, reasons in table.select("customer_id", "offer_id", "base_value", "reasons").iter_rows():
        probability = scores.probability[place[str(customer)], scores.offer.index(offer)]
        total = base + sum(each["contribution"] for each in reasons)
        assert total == pytest.approx(log_odds_of(np.array(probability)), abs=1e-4)
    cfg.reasons_from = str(tmp_path)
    with pytest.raises(ConfigurationError, match="needs the run or the bundle that wrote the scores"):
        with_reasons(result, scores.cutoff, cfg, lambda text: None)
