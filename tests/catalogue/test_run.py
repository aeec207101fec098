"""Runs on requests and scores of requests: written, read again, equal to scores at a common cutoff, and refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from conftest import QUICK, SMALL
from propensity.catalogue.column import COLUMNS
from propensity.catalogue.model import level_of, load_catalogue
from propensity.catalogue.sample import Sample
from propensity.catalogue.score import score_requests
from propensity.catalogue.train import train_on_requests
from propensity.checksum import check_folder
from propensity.cli import main
from propensity.data.event_log import EventLog, to_date
from propensity.data.registrant import NOT_TRAINED, UNKNOWN
from propensity.errors import ConfigurationError, DamageError, DataError, InfeasibleError, PropensityError
from propensity.evaluation.on_requests import evaluate_on_requests
from propensity.metric.ranking import auc
from propensity.scores import load_scores, require_dense
from propensity.serving.score import score, uses_bundle
from propensity.training.checkpoint import load_trained
from propensity.training.run import train

Compose = Callable[..., Any]
LEARN = ("data.catalogue.trees=20", "data.catalogue.epochs=2", "data.catalogue.batch=256", "data.catalogue.members=1")


@pytest.fixture(scope="module")
def log(small_world: dict[str, Any]) -> EventLog:
    opened: EventLog = small_world["log"]
    return opened


def visits(log: EventLog, first: int, last: int) -> pl.DataFrame:
    """A request for each customer and day with a purchase in [first, last)."""
    owner = log.owner(np.arange(log.day.size))
    table = pl.DataFrame({"customer_id": log.customer_id[owner], "cutoff": log.day, "kind": log.kind})
    chosen = table.filter((pl.col("kind") == 0) & pl.col("cutoff").is_between(first, last, closed="left"))
    return chosen.select("customer_id", pl.col("cutoff").cast(pl.Date)).unique(maintain_order=True)


def settings(compose: Compose, log: EventLog, folder: Path, *more: str) -> Any:
    table = folder / "train.parquet"
    if not table.is_file():
        visits(log, log.last_day - 90, log.last_day - 20).write_parquet(table)
    return compose("train", *SMALL, *LEARN, f"data.log={log.folder}", f"data.requests={table}", "data.horizon=7",
                   f"out={folder / 'run'}", *more)  # fmt: skip


@pytest.fixture(scope="module")
def run(log: EventLog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on requests with both learners."""
    from hydra import compose, initialize_config_dir

    from propensity.command import typed
    from propensity.config import conf_folder

    folder = tmp_path_factory.mktemp("requests")
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = settings(lambda name, *rest: typed(compose(name, overrides=list(rest))), log, folder)
    train_on_requests(config)
    return folder / "run"


@pytest.fixture(scope="module")
def later(log: EventLog, run: Path) -> Path:
    """Requests of later days, at several cutoffs."""
    path = run.parent / "later.parquet"
    visits(log, log.last_day - 12, log.last_day - 6).write_parquet(path)
    return path


def test_scores_of_requests_have_the_columns_of_every_table_of_scores(run: Path, later: Path, tmp_path: Path) -> None:
    table = score_requests(run, later, tmp_path / "s.parquet", top_per_customer=3)
    assert table.columns == ["cutoff", "customer_id", "offer_id", "score", "expected_revenue"]
    assert table.equals(pl.read_parquet(tmp_path / "s.parquet"))
    assert len(load_scores(tmp_path / "s.parquet")) == table["cutoff"].n_unique()
    assert table.group_by("cutoff", "customer_id").len()["len"].unique().to_list() == [3]
    assert table.select("cutoff", "customer_id").unique().height == pl.read_parquet(later).height
    assert table["score"].is_between(0, 1).all()
    assert (table["expected_revenue"] >= 0).all()
    every = score_requests(run, later, tmp_path / "all.parquet")
    assert table.equals(every.group_by("cutoff", "customer_id", maintain_order=True).head(3).select(table.columns))


def test_a_run_on_requests_ranks_better_than_chance_and_is_calibrated(
    run: Path, later: Path, log: EventLog, tmp_path: Path
) -> None:
    table = score_requests(run, later, tmp_path / "s.parquet")
    category = log.items["category"].to_numpy()
    owner = log.owner(np.arange(log.day.size))
    bought = pl.DataFrame({"customer_id": log.customer_id[owner], "day": log.day, "kind": log.kind, "item": log.item})
    bought = bought.filter((pl.col("kind") == 0) & (pl.col("item") >= 0)).with_columns(
        offer_id=pl.Series(category).gather(
            pl.Series(bought.filter((pl.col("kind") == 0) & (pl.col("item") >= 0))["item"])
        )
    )
    pairs = (
        table.with_row_index()
        .join(bought, on=["customer_id", "offer_id"])
        .filter(
            pl.col("day") - pl.col("cutoff").cast(pl.Int32) >= 0, pl.col("day") - pl.col("cutoff").cast(pl.Int32) < 7
        )
    )
    label = np.zeros(table.height, bool)
    label[pairs["index"].to_numpy()] = True
    score = table["score"].to_numpy()
    assert score[label].mean() > 1.3 * score[~label].mean()
    assert 0.7 < score.sum() / label.sum() < 1.4


def test_an_offer_that_a_request_names_has_the_same_score(run: Path, later: Path, tmp_path: Path) -> None:
    every = score_requests(run, later, tmp_path / "all.parquet")
    named = every.sample(fraction=0.2, seed=1).select("customer_id", "cutoff", "offer_id")
    named.write_parquet(tmp_path / "named.parquet")
    table = score_requests(run, tmp_path / "named.parquet", tmp_path / "s.parquet")
    assert table.sort(table.columns).equals(every.join(named, on=named.columns, how="semi").sort(table.columns))


def test_training_on_requests_follows_from_the_seed(log: EventLog, composed: Compose, tmp_path: Path) -> None:
    contents = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        config = settings(composed, log, tmp_path / name, "champion=network", f"seed={seed}", "data.catalogue.epochs=1")
        model = train_on_requests(config)
        contents.append(next(model.learners["network"].members[0].parameters()).detach().numpy())
    np.testing.assert_array_equal(contents[0], contents[1])
    assert (contents[0] != contents[2]).any()


def test_a_request_that_stands_in_training_is_scored_as_one_at_its_cutoff(
    run: Path, log: EventLog, tmp_path: Path
) -> None:
    day = log.last_day - 8
    everyone = score_requests(run, None, tmp_path / "all.parquet", cutoff=to_date(day).isoformat())
    some = everyone.select("customer_id", "cutoff").unique().sort("customer_id")[::7]
    some.write_parquet(tmp_path / "some.parquet")
    table = score_requests(run, tmp_path / "some.parquet", tmp_path / "s.parquet")
    assert table.equals(everyone.join(some, on=["customer_id", "cutoff"], how="semi", maintain_order="left"))


def test_a_run_on_requests_is_sealed_and_notices_damage(run: Path, tmp_path: Path) -> None:
    import shutil

    assert check_folder(run) >= 5
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    for name in ("catalogue.json", *(f"catalogue/{path.name}" for path in (run / "catalogue").iterdir())):
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(DamageError):
            load_catalogue(copy)
        (copy / name).write_bytes(content)
    assert load_catalogue(copy).model.served == load_catalogue(run).model.served


def test_commands_that_need_common_cutoffs_say_so_of_a_run_on_requests(
    run: Path, log: EventLog, composed: Compose, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="was trained on a table of requests; only propensity score"):
        load_trained(run)
    with pytest.raises(ConfigurationError, match=r"data\.requests is read by propensity train alone"):
        train(settings(composed, log, tmp_path))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("champion=frequency",), "champion=frequency is no learner of requests"),
        (("data.end=2023-03-01",), "training requests have no complete label"),
    ],
)
def test_settings_that_cannot_be_trained_are_one_sentence(
    log: EventLog, composed: Compose, tmp_path: Path, more: tuple[str, ...], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        train_on_requests(settings(composed, log, tmp_path, *more))


def test_training_requests_whose_label_is_not_complete_are_refused(
    log: EventLog, composed: Compose, tmp_path: Path
) -> None:
    visits(log, log.last_day - 30, log.last_day + 1).write_parquet(tmp_path / "train.parquet")
    with pytest.raises(ConfigurationError, match="labels of 7 days must close by"):
        train_on_requests(settings(composed, log, tmp_path))


def test_a_training_without_a_purchase_is_refused(log: EventLog, composed: Compose, tmp_path: Path) -> None:
    owner = log.owner(np.arange(log.day.size))
    silent = next(n for n in range(len(log)) if not ((owner == n) & (log.day >= log.last_day - 60)).any())
    day = to_date(log.last_day - 50)
    pl.DataFrame({"customer_id": [log.customer_id[silent]], "cutoff": [day]}).write_parquet(tmp_path / "train.parquet")
    with pytest.raises(ConfigurationError, match="nobody bought within 7 days"):
        train_on_requests(settings(composed, log, tmp_path))


def test_requests_of_a_run_at_common_cutoffs_have_the_scores_of_their_cutoff(
    small_world: dict[str, Any], composed: Compose, tmp_path: Path
) -> None:
    log = small_world["log"]
    end = to_date(log.last_day - 20).isoformat()
    train(composed("train", *SMALL, *QUICK, f"data.log={log.folder}", f"data.end={end}", f"out={tmp_path / 'run'}"))
    days = [to_date(log.last_day - k).isoformat() for k in (14, 9)]
    tables = []
    for day in days:
        score(tmp_path / "run", day, tmp_path / f"{day}.parquet", None, lambda text: None)
        tables.append(pl.read_parquet(tmp_path / f"{day}.parquet"))
    every = pl.concat(tables)
    wanted = every.select("customer_id", "cutoff").unique(maintain_order=True)[::3]
    wanted.write_parquet(tmp_path / "requests.parquet")
    table = score_requests(tmp_path / "run", tmp_path / "requests.parquet", tmp_path / "s.parquet")
    expected = every.join(wanted, on=wanted.columns, how="semi")
    both = table.join(expected, on=["cutoff", "customer_id", "offer_id"], how="full", suffix="_common")
    assert both.height == table.height == expected.height
    for name in ("score", "expected_revenue"):
        np.testing.assert_allclose(both[name], both[f"{name}_common"], rtol=1e-5)  # sums of other blocks
    named = expected.sample(fraction=0.3, seed=2).select("customer_id", "cutoff", "offer_id")
    named.write_parquet(tmp_path / "named.parquet")
    some = score_requests(tmp_path / "run", tmp_path / "named.parquet", tmp_path / "s.parquet", top_per_customer=1)
    best = (
        expected.join(named, on=named.columns, how="semi").group_by("cutoff", "customer_id").agg(pl.col("score").max())
    )
    both = some.join(best, on=["cutoff", "customer_id"], how="full", suffix="_best")
    assert both.height == some.height == best.height
    np.testing.assert_allclose(both["score"], both["score_best"], rtol=1e-5)
    buyers = log.purchasers(log.last_day - 150)
    stranger = log.customer_id[np.setdiff1d(np.arange(len(log)), buyers)[0]]
    early = to_date(log.last_day - 150)
    pl.DataFrame({"customer_id": [stranger], "cutoff": [early]}).write_parquet(tmp_path / "early.parquet")
    said = list[str]()
    assert score_requests(
        tmp_path / "run", tmp_path / "early.parquet", tmp_path / "s.parquet", say=said.append
    ).is_empty()
    assert any("1 requests are of customers without a purchase before their cutoff" in text for text in said)
    assert any(text.startswith("1 request has no score: 1 n") for text in said)
    left_out = pl.read_parquet(tmp_path / "s.not_scored.parquet")
    assert left_out["customer_id"].to_list() == [stranger] and left_out["cutoff"].to_list() == [early]
    assert left_out["reason"].to_list()[0] in (NOT_TRAINED, UNKNOWN)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (("run=r",), "cutoff not given; add cutoff=... or requests=..."),
        (("run=r", "requests=t.parquet", "cutoff=2024-01-01"), "give either cutoff or requests"),
        (("bundle=b", "requests=t.parquet"), "requests need a run"),
        (("run=r", "requests=t.parquet", "top=5"), "for requests use top_per_customer"),
    ],
)
def test_settings_of_a_score_that_exclude_each_other_are_refused(
    composed: Compose, chosen: tuple[str, ...], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        uses_bundle(composed("score", *chosen))


def test_a_request_that_a_run_cannot_answer_is_one_sentence(run: Path, log: EventLog, tmp_path: Path) -> None:
    day = to_date(log.last_day)
    pl.DataFrame({"customer_id": ["nobody"], "cutoff": [day]}).write_parquet(tmp_path / "r.parquet")
    with pytest.raises(DataError, match="names customer 'nobody'"):
        score_requests(run, tmp_path / "r.parquet", tmp_path / "s.parquet")
    assert not (tmp_path / "s.parquet").exists()


def test_scores_after_the_end_of_the_log_warn_that_it_is_stale(run: Path, log: EventLog, tmp_path: Path) -> None:
    table = pl.DataFrame({"customer_id": log.customer_id[:1], "cutoff": [to_date(log.last_day + 30)]})
    table.write_parquet(tmp_path / "r.parquet")
    said = list[str]()
    scores = score_requests(run, tmp_path / "r.parquet", tmp_path / "s.parquet", say=said.append)
    assert scores.height > 0
    assert any("the log is stale" in text for text in said)
    assert json.loads(pl.read_parquet_metadata(tmp_path / "s.parquet")["propensity.warnings"]) == said


def evaluated(compose: Compose, run: Path, *more: str) -> dict[str, Any]:
    return evaluate_on_requests(compose("evaluate", f"run={run}", "resamples=20", *more))


def test_an_evaluation_on_requests_equals_its_definitions(
    run: Path, later: Path, log: EventLog, composed: Compose, tmp_path: Path
) -> None:
    result = evaluated(composed, run, f"requests={later}")
    assert json.loads((run / "request_metrics.json").read_text()) == result
    table = score_requests(run, later, tmp_path / "s.parquet").with_columns(pl.col("cutoff").cast(pl.Int32))
    purchases = log_purchases(log)
    asked = pl.read_parquet(later).with_columns(pl.col("cutoff").cast(pl.Int32))
    every = asked.join(purchases, on="customer_id")
    bought = every.filter(pl.col("day").is_between(pl.col("cutoff"), pl.col("cutoff") + 7, closed="left"))
    bought = bought.select("customer_id", "cutoff", "offer_id").unique()
    keys = ["customer_id", "cutoff", "offer_id"]
    past = every.filter(pl.col("day") < pl.col("cutoff")).select(keys).unique().with_columns(repeat=True)
    ranked = table.with_columns(rank=pl.int_range(pl.len()).over("customer_id", "cutoff"))
    ranked = ranked.join(bought.with_columns(hit=True), on=keys, how="left").with_columns(
        pl.col("hit").fill_null(False)
    )
    value = {name: each["value"] for name, each in result["metrics"].items()}
    assert value["auc"] == pytest.approx(auc(ranked["score"].to_numpy(), ranked["hit"].to_numpy()), abs=1e-6)
    assert value["expected_over_observed"] == pytest.approx(
        float(ranked["score"].sum()) / int(ranked["hit"].sum()), rel=1e-5
    )
    hits = bought.join(ranked, on=keys, how="left").join(past, on=keys, how="left")
    hits = hits.with_columns(pl.col("repeat").fill_null(False), found=(pl.col("rank") < 10).fill_null(False))
    for name, part in (
        ("", hits),
        ("_repeat", hits.filter("repeat")),
        ("_never_bought", hits.filter(~pl.col("repeat"))),
    ):
        recall = part.group_by("customer_id", "cutoff").agg(pl.col("found").mean())["found"].mean()
        assert value[f"recall@10{name}"] == pytest.approx(recall, nan_ok=True) or part.is_empty()
    assert result["counts"]["purchases"] == bought.height
    assert result["counts"]["pairs"] == table.height
    assert all(each["low"] <= each["value"] <= each["high"] for each in result["metrics"].values() if each["low"])


def log_purchases(log: EventLog) -> pl.DataFrame:
    """customer_id, day and offer_id of every purchase."""
    owner = log.owner(np.arange(log.day.size))
    table = pl.DataFrame({"customer_id": log.customer_id[owner], "day": log.day, "kind": log.kind, "item": log.item})
    table = table.filter((pl.col("kind") == 0) & (pl.col("item") >= 0))
    return table.select("customer_id", "day", offer_id=pl.Series(log.items["category"]).gather(table["item"]))


def test_an_evaluation_at_cutoffs_is_one_of_everybody(run: Path, log: EventLog, composed: Compose) -> None:
    days = [to_date(log.last_day - k).isoformat() for k in (7, 10)]
    result = evaluated(composed, run, f"cutoffs=[{','.join(days)}]")
    assert result["counts"]["requests"] == sum(log.purchasers(log.last_day - k).size for k in (7, 10))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), r"give requests=<table> to evaluate on requests, or cutoffs=\[YYYY-MM-DD\]"),
        (("requests=a.parquet", "cutoffs=[2024-01-01]"), "not both"),
        (("requests=a.parquet",), "no table of requests at a.parquet"),
        (("requests=a.parquet", "also={mine: m.parquet}"), "compare runs at common cutoffs"),
        (("cutoffs=[2030-01-01]",), "evaluation requests have no complete label"),
    ],
)
def test_an_evaluation_that_is_not_possible_is_one_sentence(
    run: Path, composed: Compose, more: tuple[str, ...], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        evaluated(composed, run, *more)


def test_scores_of_requests_carry_the_consents_of_their_cutoffs(run: Path, log: EventLog, tmp_path: Path) -> None:
    from dataclasses import replace

    day = log.last_day - 8
    refused = np.arange(len(log)) % 3 == 0
    words = {"consent": pl.Series(~refused), "consented": pl.Series([to_date(day)] * len(log))}
    replace(log, customers=log.customers.with_columns(**words)).save(tmp_path / "log")
    asked = pl.DataFrame(
        {"customer_id": np.repeat(log.customer_id[:12], 2), "cutoff": [to_date(day), to_date(day + 1)] * 12}
    )
    asked.write_parquet(tmp_path / "r.parquet")
    table = score_requests(run, tmp_path / "r.parquet", tmp_path / "s.parquet", str(tmp_path / "log"))
    for scores in load_scores(tmp_path / "s.parquet"):
        mark = scores.consents["suppressed"] if scores.consents is not None else None
        assert mark is not None
        known = dict(zip(scores.customer.tolist(), mark.to_list(), strict=True))
        early = scores.cutoff == str(to_date(day))  # a consent of that day is not known yet
        for n, customer in enumerate(log.customer_id[:12].tolist()):
            assert known[customer] == (True if refused[n] else None if early else False)
    assert "suppressed" in table.columns


def scored(run: Path, frame: pl.DataFrame, folder: Path) -> tuple[pl.DataFrame, list[str]]:
    frame.write_parquet(folder / "r.parquet")
    said = list[str]()
    return score_requests(run, folder / "r.parquet", folder / "s.parquet", top_per_customer=2, say=said.append), said


@pytest.mark.parametrize("days", [2_000, 2_900_000])
def test_requests_after_the_end_of_all_sales_get_no_score_and_a_warning(
    run: Path, log: EventLog, tmp_path: Path, days: int
) -> None:
    frame = pl.DataFrame({"customer_id": log.customer_id[:2], "cutoff": [to_date(log.last_day + days)] * 2})
    table, said = scored(run, frame, tmp_path)
    assert table.is_empty() and table.columns[:3] == ["cutoff", "customer_id", "offer_id"]
    assert any("2 requests get no score, because no offer was sold in the 182 days before" in text for text in said)


def test_ids_of_another_type_are_the_same_customers(run: Path, log: EventLog, tmp_path: Path) -> None:
    day, known = [to_date(log.last_day - 8)] * 5, pl.Series("customer_id", log.customer_id[:5])
    expected, _ = scored(run, pl.DataFrame([known, pl.Series("cutoff", day)]), tmp_path)
    for kind in (pl.String, pl.Int32, pl.Float64, pl.Categorical):
        ids = known.cast(pl.String).cast(kind) if kind == pl.Categorical else known.cast(kind)
        assert scored(run, pl.DataFrame([ids, pl.Series("cutoff", day)]), tmp_path)[0].equals(expected)


@pytest.mark.parametrize(
    ("frame", "code", "words"),
    [
        ({"customer_id": [1.5], "cutoff": ["2024-07-08"]}, 3, "holds Float64, not ids"),
        ({"customer_id": [True], "cutoff": ["2024-07-08"]}, 3, "holds Boolean, not ids"),
        ({"customer_id": [[1]], "cutoff": ["2024-07-08"]}, 3, "not ids; write them as text or whole numbers"),
        ({"customer_id": [1], "cutoff": ["0001-01-01"]}, 2, "is not after the first purchase of the log"),
        ({"customer_id": [1], "cutoff": ["2024-07-08 10:00"]}, 3, "has a time of day, and the log has no times"),
        ({"customer_id": [1], "cutoff": ["2024-07-08"], "offer_id": [7]}, 3, "names offer '7', which is not among"),
        ({"cutoff": ["2024-07-08"]}, 3, "has no column customer_id"),
        ({}, 3, "has no column customer_id"),
    ],
)
def test_a_table_that_cannot_be_scored_is_one_sentence_with_its_exit_code(
    run: Path, tmp_path: Path, frame: dict[str, list[Any]], code: int, words: str
) -> None:
    with pytest.raises(PropensityError, match=words) as error:
        scored(run, pl.DataFrame(frame), tmp_path)
    assert error.value.exit_code == code
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_the_command_line_scores_evaluates_and_decides_on_requests_and_refuses_the_rest(
    run: Path, later: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["propensity"])
    monkeypatch.chdir(tmp_path)
    main(["score", f"run={run}", f"requests={later}", "top_per_customer=4", "out=s.parquet"])
    main(["decide", "decision=audience", "scores=s.parquet", "decision.size=5", "out=audience"])
    assert pl.read_parquet("audience/audience.parquet").height == 5
    main(["decide", "decision=next_best", "scores=s.parquet", "decision.count=2", "decision.days=3", "out=next"])
    assert pl.read_parquet("next/next_best.parquet").height > 0
    main(["evaluate", f"run={run}", f"requests={later}", "resamples=5"])
    assert "recall@10" in capsys.readouterr().out
    for refused in (["export", f"run={run}", "out=b"], ["explain", f"run={run}", "cutoff=2024-07-08", "customer=1"]):
        with pytest.raises(SystemExit) as ended:
            main(refused)
        assert ended.value.code == 2
        assert "was trained on a table of requests; only propensity score and propensity" in capsys.readouterr().err


def test_sparse_scores_of_too_many_pairs_are_refused() -> None:
    require_dense(20_000, 5_000, 10_000_000, "2024-01-01")  # a tenth of the pairs: such scores were made as a whole
    require_dense(1_000, 5_000, 50_000, "2024-01-01")
    with pytest.raises(InfeasibleError, match="hold 1,600,000 of 32,000 customers x 12,000 offers"):
        require_dense(32_000, 12_000, 1_600_000, "2024-01-01")


def test_the_level_of_a_run_expects_the_purchases_of_its_training_pairs() -> None:
    random = np.random.default_rng(0)
    x, weight = np.zeros((4_000, len(COLUMNS)), np.float32), random.uniform(1, 3, 4_000)
    x[::2, COLUMNS.index("pair_baskets")] = 2
    logit = random.normal(-2, 1, 4_000)
    bought = random.random(4_000) < 1 / (1 + np.exp(-logit - np.where(np.arange(4_000) % 2 == 0, 0.4, -0.3)))
    none = np.zeros(4_000)
    sample = Sample(x, bought, none, none, weight, none)
    past, new = level_of(logit, sample)
    assert past == pytest.approx(0.4, abs=0.15) and new == pytest.approx(-0.3, abs=0.15)
    expected = weight / (1 + np.exp(-logit - np.where(x[:, COLUMNS.index("pair_baskets")] > 0, past, new)))
    for part in (slice(0, None, 2), slice(1, None, 2)):
        assert expected[part].sum() == pytest.approx((weight * bought)[part].sum(), rel=1e-6)
    assert level_of(logit, sample._replace(bought=np.ones(4_000, bool))) == (0.0, 0.0)
