"""End to end by the scripts: raw tables, event log, network and baselines, scores, revenue lift."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest

from conftest import QUICK, SMALL
from propensity.baseline.popularity import Popularity
from propensity.config import conf_folder
from propensity.data.event_log import to_date, to_day
from propensity.errors import ConfigurationError, DamageError, DataError
from propensity.evaluation.evaluate import customer_table, stored_decay
from propensity.feature.features import Features
from propensity.ingest.rule import UNUSED_OUTCOMES
from propensity.metric.slice import CELLS
from propensity.scores import COLUMNS, load_scores, load_shares
from propensity.serving.damage import verify_run
from propensity.training import run
from propensity.training.checkpoint import load_trained
from propensity.training.fit import Fitted
from propensity.training.run import train

Compose = Callable[..., Any]
LIGHT = ("baseline.lightgbm.n_estimators=5", "resamples=5")


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, conf_folder().parent / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def line(small_world: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The folder of a run whose labels close 60 days before the log ends, and two cutoffs from then on."""
    log = small_world["log"]
    days = {name: to_date(log.last_day + 1 - back).isoformat() for name, back in (("end", 60), ("a", 60), ("b", 30))}
    return small_world | days | {"run": tmp_path_factory.mktemp("line") / "run"}


def overrides(line: dict[str, Any]) -> list[str]:
    return [*SMALL, f"data.log={line['folder']}"]


def test_prepare_writes_a_log_and_counts_every_row_once(
    line: dict[str, Any], composed: Compose, tmp_path: Path
) -> None:
    script("prepare").main(composed("prepare", *SMALL, f"out={tmp_path / 'log'}"))
    meta = json.loads((tmp_path / "log/meta.json").read_text())
    rows = meta["rows"]
    assert rows["in"] == rows["used"] + sum(sum(rows[way].values()) for way in UNUSED_OUTCOMES) > 1000
    assert meta["fingerprint"] == line["log"].fingerprint


def test_train_writes_configuration_log_and_checkpoint(line: dict[str, Any], composed: Compose) -> None:
    script("train").main(composed("train", *overrides(line), *QUICK, f"data.end={line['end']}", f"out={line['run']}"))
    written = {"checksums.json", "config.yaml", "curves.svg", "log", "model.ckpt", "training.json"}
    assert {path.name for path in line["run"].iterdir()} == written


def test_evaluate_scores_every_model_on_the_same_pairs(line: dict[str, Any], composed: Compose) -> None:
    cutoffs = f"cutoffs=[{line['b']},{line['a']}]"
    script("evaluate").main(composed("evaluate", f"run={line['run']}", cutoffs, *LIGHT))
    metrics = json.loads((line["run"] / "metrics.json").read_text())
    assert set(metrics["models"]) == {"network", "popularity", "frequency", "logistic", "lightgbm"}
    assert set(metrics["counts"]) == {line["a"], line["b"]}
    assert (line["run"] / "report.html").read_text().startswith("<!doctype html>")
    keys = None
    for name in ("scores", "frequency", "lightgbm"):
        table = pl.read_parquet(line["run"] / f"{name}.parquet").select(COLUMNS[:3])
        assert keys is None or table.equals(keys)
        keys = table
    customers = pl.read_parquet(line["run"] / "customers.parquet")
    assert customers["cutoff"].unique().to_list() == [to_date(line["log"].last_day + 1 - 30)]
    assert customers["customer_id"].n_unique() == customers.height


def test_scores_of_another_model_are_evaluated_beside_the_rest(
    line: dict[str, Any], composed: Compose, tmp_path: Path
) -> None:
    frame = pl.read_parquet(line["run"] / "scores.parquet")
    frame[:-7].sample(fraction=1.0, shuffle=True, seed=1).write_parquet(tmp_path / "mine.parquet")
    run = [f"run={line['run']}", "baselines=[]", "resamples=0"]
    both = f"cutoffs=[{line['a']},{line['b']}]"

    def metrics_with(name: str, path: Path, cutoffs: str = both) -> dict[str, Any]:
        script("evaluate").main(composed("evaluate", *run, cutoffs, f"also={{{name}: {path}}}"))
        return json.loads((line["run"] / "metrics.json").read_text())

    metrics = metrics_with("mine", tmp_path / "mine.parquet")
    assert metrics["models"]["mine"][line["a"]] == metrics["models"]["network"][line["a"]]
    assert any(sentence.startswith("mine has no score for 7 of") for sentence in metrics["warnings"])
    for name in ("network", "customers", "channels"):
        with pytest.raises(ConfigurationError, match=f"also.{name} takes the name of another file of the run"):
            metrics_with(name, tmp_path / "mine.parquet")
    with pytest.raises(ConfigurationError, match="mine has no scores at .*, only at"):
        frame.filter(pl.col("cutoff") == pl.lit(line["a"]).str.to_date()).write_parquet(tmp_path / "one.parquet")
        metrics_with("mine", tmp_path / "one.parquet")
    frame.with_columns(customer_id=-1 - pl.int_range(pl.len())).write_parquet(tmp_path / "strangers.parquet")
    with pytest.raises(DataError, match="mine at .* scores none of the run's pairs; use its customer and offer ids"):
        metrics_with("mine", tmp_path / "strangers.parquet")


def test_the_cells_of_the_partition_add_up_to_all_pairs(line: dict[str, Any]) -> None:
    metrics = json.loads((line["run"] / "metrics.json").read_text())
    for count in metrics["counts"].values():
        inside = [count["slices"][cell] for cell in CELLS]
        for key in ("pairs", "positives", "revenue"):
            assert sum(each[key] for each in inside) == pytest.approx(count[key])


def test_score_writes_the_scores_of_evaluate(line: dict[str, Any], composed: Compose, tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"
    script("score").main(composed("score", f"run={line['run']}", f"cutoff={line['b']}", f"out={out}"))
    scores, evaluated = load_scores(out)[0], load_scores(line["run"] / "scores.parquet")[1]
    assert scores.cutoff == evaluated.cutoff == line["b"]
    np.testing.assert_array_equal(scores.probability, evaluated.probability)
    shares, before = (load_shares(f / "channels.parquet", line["b"], scores.customer) for f in (tmp_path, line["run"]))
    assert shares is not None and before is not None and shares.channel == before.channel == ("store", "web")
    np.testing.assert_array_equal(shares.share, before.share)
    np.testing.assert_allclose(shares.share.sum(axis=1), 1.0, rtol=1e-6)
    with pytest.raises(ConfigurationError, match="is the file of channel shares; give another name"):
        script("score").main(
            composed("score", f"run={line['run']}", f"cutoff={line['b']}", f"out={tmp_path / 'channels.parquet'}")
        )
    purchasers = line["log"].purchasers(line["log"].last_day + 1 - 30)
    np.testing.assert_array_equal(scores.customer, line["log"].customer_id[purchasers])


def test_score_warns_of_a_stale_log_early_cutoffs_and_a_list_of_no_offers(
    line: dict[str, Any], composed: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stale, early = to_date(line["log"].last_day + 20).isoformat(), to_date(line["log"].first_day + 90).isoformat()
    sentences = {
        stale: "the log is stale: it ends on",
        early: "before the last training label",
        "2031-01-01": "no offer has 3 buyers in the 91 days before 2031-01-01: all offers with a sale are scored",
    }
    for day, sentence in sentences.items():
        script("score").main(composed("score", f"run={line['run']}", f"cutoff={day}", f"out={tmp_path / day}"))
        assert sentence in " ".join(capsys.readouterr().err.split())
        assert load_scores(tmp_path / day)[0].cutoff == day


def test_score_refuses_a_cutoff_before_the_first_purchase(
    line: dict[str, Any], composed: Compose, tmp_path: Path
) -> None:
    first = to_date(line["log"].first_day).isoformat()
    with pytest.raises(ConfigurationError, match="is not after the first purchase"):
        script("score").main(composed("score", f"run={line['run']}", f"cutoff={first}", f"out={tmp_path / 's'}"))
    assert not list(tmp_path.iterdir())


def test_a_customer_attribute_named_like_an_activity_column_is_kept(line: dict[str, Any]) -> None:
    cutoff_data = line["examples"].cutoffs_data[-1]
    log = replace(
        cutoff_data.features.log, customers=cutoff_data.features.log.customers.with_columns(tenure=pl.lit("x"))
    )
    features = Features(log, cutoff_data.features.offers, cutoff_data.features.vocabulary, cutoff_data.features.config)
    table = customer_table(cutoff_data._replace(features=features))
    assert (table["given_tenure"] == "x").all() and table["tenure"].dtype == pl.Float32


def test_baselines_are_fitted_on_the_run_s_cutoffs_after_the_log_has_grown(
    line: dict[str, Any],
    composed: Compose,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    day, log = line["log"].last_day - 59, tmp_path / "log"
    line["log"].before(day).save(log)
    cfg = composed("train", *SMALL, *QUICK, f"data.log={log}", f"out={tmp_path / 'run'}")
    end = train(cfg)[3].last_day + 1
    line["log"].save(log)
    closed: list[int] = []
    monkeypatch.setattr(
        Popularity,
        "fit",
        lambda _, training_set, seed: closed.append(training_set.cutoffs_data[-1].market_stats[0].end),
    )
    options = [f"cutoffs=[{line['b']}]", "baselines=[popularity]", "resamples=0"]
    script("evaluate").main(composed("evaluate", f"run={tmp_path / 'run'}", *options))
    assert closed == [end]
    assert "the event log is not the one the run was trained on" in " ".join(capsys.readouterr().err.split())


def test_backtest_trains_a_model_for_every_cutoff(line: dict[str, Any], composed: Compose, tmp_path: Path) -> None:
    options = [f"cutoffs=[{line['a']},{line['b']}]", "baselines=[frequency]", f"out={tmp_path}", "resamples=5"]
    script("backtest").main(composed("backtest", *overrides(line), *QUICK, *options))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert set(metrics["models"]) == {"network", "frequency"}
    assert [s.cutoff for s in load_scores(tmp_path / "scores.parquet")] == [line["a"], line["b"]]
    assert (tmp_path / "frequency.parquet").is_file() and (tmp_path / "report.html").is_file()
    assert sorted(path.name for path in (tmp_path / "folds").iterdir()) == [line["a"], line["b"]]
    assert "have no checksum" not in verify_run(tmp_path)
    for name in ("report.html", "frequency.parquet", f"folds/{line['a']}/config.yaml"):
        good = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        with pytest.raises(DamageError, match=name):
            verify_run(tmp_path)
        (tmp_path / name).write_bytes(good)


def test_every_fold_is_trained_on_label_windows_closed_by_its_cutoff(
    line: dict[str, Any], composed: Compose, tmp_path: Path
) -> None:
    options = ["folds=3", "step=21", "baselines=[]", f"out={tmp_path}", "resamples=0"]
    script("backtest").main(composed("backtest", *overrides(line), *QUICK, *options))
    last = line["log"].last_day + 1 - 14
    days = [to_date(last - back).isoformat() for back in (42, 21, 0)]
    assert [s.cutoff for s in load_scores(tmp_path / "scores.parquet")] == days
    for day in days:
        training_cutoffs = load_trained(tmp_path / "folds" / day).about["cutoffs"]
        assert max(to_day(each) for each in training_cutoffs) + 14 == to_day(day), "the embargo is the horizon"


def test_older_models_at_the_same_cutoffs_give_the_lift_decay(
    line: dict[str, Any], composed: Compose, tmp_path: Path
) -> None:
    options = ["folds=2", "step=7", "ages=[1,2]", "baselines=[popularity]", f"out={tmp_path / 'run'}", "resamples=20"]
    script("backtest").main(composed("backtest", *overrides(line), *QUICK, *options))
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    decay = metrics["decay"]
    assert decay == json.loads((tmp_path / "run/decay.json").read_text())
    assert [point["weeks"] for point in decay["points"]] == [0, 1, 2]
    assert decay["dates"] == list(metrics["counts"]) and decay["about"]["data"] == line["log"].fingerprint
    fresh, older = (point["revenue_lift"]["value"] for point in decay["points"][:2])
    assert decay["points"][1]["lost"]["value"] == pytest.approx(fresh - older)
    assert fresh == metrics["models"]["network"]["mean"]["all"]["revenue_lift"]["value"]
    assert len(list((tmp_path / "run/folds").iterdir())) == 4, "a fold that several ages need is trained once"
    assert "Lift decay" in (tmp_path / "run/report.html").read_text()
    data, log = metrics["run"]["config"]["data"], line["log"]
    stored = str(tmp_path / "run/decay.json")
    assert stored_decay(stored, log, data) == decay
    assert stored_decay(stored, log, data | {"horizon": 7}) is None and stored_decay("nowhere.json", log, data) is None
    assert stored_decay(None, log, data) is None
    other = replace(log, meta=log.meta | {"fingerprint": "another shop"})
    assert stored_decay(stored, other, data) is None
    assert metrics["run"]["source"] == decay["about"]["source"] == "synthetic"


def test_cutoffs_are_listed_or_counted_back_from_the_end_of_the_log(
    line: dict[str, Any], composed: Compose, tmp_path: Path
) -> None:
    def run_backtest(*options: str) -> None:
        script("backtest").main(composed("backtest", *overrides(line), *QUICK, f"out={tmp_path}", *options))

    with pytest.raises(ConfigurationError, match="give cutoffs=.* or folds=<number> with step=<days>, and not both"):
        run_backtest("folds=2", f"cutoffs=[{line['a']}]")
    with pytest.raises(ConfigurationError, match="folds=0 and step=28 make no cutoffs"):
        run_backtest("folds=0")
    with pytest.raises(ConfigurationError, match="ages holds -1; give weeks of 0 or more"):
        run_backtest("folds=1", "ages=[-1]")
    with pytest.raises(ConfigurationError, match="labels of cutoff .* need data up to .*, the log ends on"):
        run_backtest(f"cutoffs=[{line['a']},{to_date(line['log'].last_day).isoformat()}]")
    with pytest.raises(ConfigurationError, match="no training cutoff fits: labels close by"):
        run_backtest("folds=6", "data.cutoff.minimum_history=56")


def test_a_finished_fold_is_not_trained_again(
    line: dict[str, Any], composed: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [f"cutoffs=[{line['a']}]", "baselines=[]", f"out={tmp_path}", "resamples=0"]
    fitted: list[int] = []

    def fits(*arguments: Any) -> Fitted:
        fitted.append(1)
        return Fitted(1, 1, 1, {})

    def again(commit: str | None, *more: str) -> int:
        monkeypatch.setattr(run, "commit", lambda: commit)
        monkeypatch.setattr(run, "fit", fits)
        script("backtest").main(composed("backtest", *overrides(line), *QUICK, *options, *more))
        return len(fitted)

    assert again("abc") == 1
    before = load_scores(tmp_path / "scores.parquet")[0]
    assert again("abc") == 1, "the same code, configuration and data"
    np.testing.assert_array_equal(load_scores(tmp_path / "scores.parquet")[0].probability, before.probability)
    assert again("abc", "seed=5") == 2, "another configuration"
    assert again("abd", "seed=5") == 3, "other code"
    assert again("abd-dirty", "seed=5") == 4 and again("abd-dirty", "seed=5") == 5, "code that no commit holds"


def test_evaluate_needs_complete_labels_and_known_baselines(line: dict[str, Any], composed: Compose) -> None:
    late = to_date(line["log"].last_day - 3).isoformat()
    evaluate = script("evaluate").main
    with pytest.raises(ConfigurationError, match=f"labels of cutoff {late} need data up to"):
        evaluate(composed("evaluate", f"run={line['run']}", f"cutoffs=[{late}]"))
    with pytest.raises(ConfigurationError, match="no baseline 'lightgmb'; baselines holds popularity"):
        evaluate(composed("evaluate", f"run={line['run']}", f"cutoffs=[{line['a']}]", "baselines=[lightgmb]"))
    with pytest.raises(ConfigurationError, match=f"cutoffs names a date twice: {line['a']}, {line['a']}; give each"):
        evaluate(composed("evaluate", f"run={line['run']}", f"cutoffs=[{line['a']},{line['a']}]"))
    with pytest.raises(ConfigurationError, match="no cutoff to evaluate; give"):
        evaluate(composed("evaluate", f"run={line['run']}", "cutoffs=[]"))
