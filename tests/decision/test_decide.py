"""The script: from scores to a folder, all of it or none; files beside the scores, and errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from conftest import SMALL
from propensity.config import conf_folder
from propensity.data.event_log import to_date
from propensity.decision.context import gather
from propensity.decision.history import PurchaseHistory, purchase_history_of
from propensity.decision.result import DecisionResult, in_currency
from propensity.errors import ConfigurationError, DataError, IntegrityError
from propensity.scores import Scores, save_scores
from test_straight_line import script

Compose = Callable[..., Any]
OPTIONS = sorted(path.stem for path in (conf_folder() / "decision").glob("*.yaml"))


@pytest.fixture(scope="module")
def run(small_world: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an evaluated run, with synthetic scores of two cutoffs."""
    from hydra import compose, initialize_config_dir

    folder = tmp_path_factory.mktemp("run")
    log, rule = small_world["log"], small_world["task"].offer
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        cfg = compose("train", overrides=[*SMALL, f"data.log={small_world['folder']}"])
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(cfg))
    scores = []
    for back in (60, 30):
        day = log.last_day + 1 - back
        who = log.customer_id[log.purchasers(day)]
        offers = tuple(rule.all(log).name[:6])
        chance = np.random.default_rng(back).beta(1, 4, (who.size, 6)).astype(np.float32)
        scores.append(Scores(who, offers, chance, chance * 10, to_date(day).isoformat(), "made up"))
    save_scores(scores, folder / "scores.parquet")
    return folder


@pytest.mark.parametrize("option", OPTIONS)
def test_every_decision_runs_with_scores_and_out_alone(
    option: str, run: Path, composed: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "result"
    for _ in range(2):  # a result replaces an earlier one
        script("decide").main(composed("decide", f"decision={option}", f"scores={run}/scores.parquet", f"out={out}"))
    names = {path.name for path in out.iterdir()}
    assert {"summary.json", f"{option}.parquet", f"{option}.png"} <= names
    assert json.loads((out / "summary.json").read_text())["decision"] == option
    assert (out / f"{option}.png").read_bytes().startswith(b"\x89PNG")
    assert pl.read_parquet(out / f"{option}.parquet").height > 0
    assert str(out)[-12:] in capsys.readouterr().out.replace("\n", "")


@pytest.mark.parametrize("option", OPTIONS)
def test_every_decision_runs_without_a_log_where_it_can(
    option: str, run: Path, tmp_path: Path, composed: Compose
) -> None:
    (tmp_path / "scores.parquet").write_bytes((run / "scores.parquet").read_bytes())
    context = gather(str(tmp_path / "scores.parquet"), None, None, None, None, 1, lambda _: None)
    assert context.history is None and len(context.earlier) == 1
    decision = instantiate(composed("decide", f"decision={option}", "scores=x", "out=y").decision, _convert_="all")
    if option in ("channel", "segment"):
        with pytest.raises(ConfigurationError, match="need the event log"):
            decision(context)
        return
    assert decision(context).table.height > 0


def test_the_history_ends_at_the_cutoff(run: Path, small_world: dict[str, Any]) -> None:
    context = gather(f"{run}/scores.parquet", None, None, None, None, 1, lambda _: None)
    history, log = context.history, small_world["log"]
    assert history is not None and to_date(history.day).isoformat() == context.scores.cutoff
    earlier = PurchaseHistory(log.before(history.day), history.offer_config, history.day, history.horizon)
    for column in ("recency", "spend_91"):
        rows = history.rows(context.scores.customer), earlier.rows(context.scores.customer)
        whole, cut = (p.pairs(r, context.scores.offer, column) for p, r in zip((history, earlier), rows, strict=True))
        np.testing.assert_array_equal(whole, cut)


def test_a_cutoff_is_chosen_by_its_date(run: Path) -> None:
    context = gather(f"{run}/scores.parquet", None, None, None, None, 1, lambda _: None)
    date = context.earlier[0].cutoff
    assert gather(f"{run}/scores.parquet", date, None, None, None, 1, lambda _: None).scores.cutoff == date
    with pytest.raises(ConfigurationError, match="no scores of 2001-01-01 in .*; it holds"):
        gather(f"{run}/scores.parquet", "2001-01-01", None, None, None, 1, lambda _: None)


def test_tables_beside_the_scores_are_checked(run: Path, tmp_path: Path) -> None:
    def read(customers: str | None = None, contacts: str | None = None) -> Any:
        return gather(f"{run}/scores.parquet", None, customers, contacts, None, 1, lambda _: None)

    table = tmp_path / "table.csv"
    table.write_text("customer,day\n1,2024-01-01\n")
    with pytest.raises(DataError, match="has no column customer_id, only customer, day; name it so"):
        read(customers=str(table))
    with pytest.raises(DataError, match="has no column customer_id; contacts hold customer_id, day"):
        read(contacts=str(table))
    table.write_text("customer_id,day\n1,soon\n1,later\n")
    with pytest.raises(DataError, match="holds customer 1 twice; keep one row each"):
        read(customers=str(table))
    with pytest.raises(DataError, match="column day of .* holds something else than dates; write them as YYYY-MM-DD"):
        read(contacts=str(table))
    with pytest.raises(ConfigurationError, match="no customers at nowhere.csv; give customers="):
        read(customers="nowhere.csv")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cut.parquet cannot be read"):
        read(contacts=str(tmp_path / "cut.parquet"))


def test_what_lies_beside_the_scores_is_read_only_where_it_is_used(
    run: Path, tmp_path: Path, composed: Compose
) -> None:
    (tmp_path / "scores.parquet").write_bytes((run / "scores.parquet").read_bytes())
    (tmp_path / "config.yaml").write_bytes((run / "config.yaml").read_bytes())
    (tmp_path / "channels.parquet").write_bytes(b"PAR1")
    context = gather(str(tmp_path / "scores.parquet"), None, None, None, None, 1, lambda _: None)

    def result(*settings: str) -> Any:
        cfg = composed("decide", *settings, "scores=x", "out=y")
        return instantiate(cfg.decision, _convert_="all")(context)

    assert result("decision=overlap").table.height > 0
    with pytest.raises(DataError, match="channels.parquet cannot be read"):
        result("decision=channel", "decision.learned=true")


def test_damaged_tables_that_may_hold_consents_are_refused_by_every_decision(run: Path, tmp_path: Path) -> None:
    (tmp_path / "scores.parquet").write_bytes((run / "scores.parquet").read_bytes())
    (tmp_path / "customers.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="customers.parquet cannot be read"):
        gather(str(tmp_path / "scores.parquet"), None, None, None, None, 1, lambda _: None)
    (tmp_path / "config.yaml").write_text("nothing: here\n")
    with pytest.raises(DataError, match="is no configuration of a run"):
        gather(str(tmp_path / "scores.parquet"), None, None, None, None, 1, lambda _: None)


def test_scores_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    chance = np.array([[0.5, np.nan]], np.float32)
    save_scores([Scores(np.array([1]), ("a", "b"), chance, chance, "2024-03-04", "x")], tmp_path / "s.parquet")
    with pytest.raises(DataError, match="score at 2024-03-04 holds values that are not finite; fill them first"):
        gather(str(tmp_path / "s.parquet"), None, None, None, None, 1, lambda _: None)


def test_a_result_replaces_nothing_but_a_result(run: Path, composed: Compose, tmp_path: Path) -> None:
    decide = script("decide").main
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(ConfigurationError, match="holds something else than a decision; give another folder"):
        decide(composed("decide", f"scores={run}/scores.parquet", f"out={tmp_path}"))
    with pytest.raises(ConfigurationError, match="is no folder; a decision leaves several files: give out="):
        decide(composed("decide", f"scores={run}/scores.parquet", f"out={tmp_path}/a.html"))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_configuration_of_other_classes_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    for target in ("os.system", "propensity.data.event_log.whole_folder", "propensity.data.nowhere.Nothing"):
        config.write_text(f"data:\n  _target_: {target}\n")
        with pytest.raises(IntegrityError, match=f"asks for {target}, which (is not ours to call|does not exist)"):
            purchase_history_of(config, None, "2024-03-04", lambda _: None)
    config.write_text("nothing: here\n")
    with pytest.raises(DataError, match="is no configuration of a run"):
        purchase_history_of(config, None, "2024-03-04", lambda _: None)


def test_a_missing_log_is_reported(run: Path, tmp_path: Path) -> None:
    heard: list[str] = []
    text = (run / "config.yaml").read_text()
    config = OmegaConf.create(text)
    config.data.log = str(tmp_path / "gone")
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(config))
    assert purchase_history_of(tmp_path / "config.yaml", None, "2024-03-04", heard.append) is None
    assert "no event log at" in heard[0] and "give log=<folder>" in heard[0]
    with pytest.raises(ConfigurationError, match="no event log at"):
        purchase_history_of(tmp_path / "config.yaml", str(tmp_path / "gone"), "2024-03-04", heard.append)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["audience", "decision.size=many"], "decision.size=many is of the wrong kind; give a whole number or null"),
        (["audience", "decision.offer=12"], "decision.offer=12 is of the wrong kind; give text in quotes or null"),
        (["campaign", "decision.campaigns=[tea]"], r"decision.campaigns=\['tea'\] .*; give a list of mappings or null"),
        (["campaign", "decision.rolling=3"], "decision.rolling=3 is of the wrong kind; give true or false"),
        (["channel", "decision.cost={mail: dear}"], "give a mapping to a number or null"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_one_sentence(
    settings: list[str], words: str, run: Path, composed: Compose, tmp_path: Path
) -> None:
    option, changed = settings
    with pytest.raises(ConfigurationError, match=words):
        script("decide").main(
            composed("decide", f"decision={option}", changed, f"scores={run}/scores.parquet", f"out={tmp_path}/result")
        )


def test_pairs_that_the_scores_leave_out_are_worth_nothing(run: Path, tmp_path: Path, composed: Compose) -> None:
    table = pl.read_parquet(run / "scores.parquet")
    table.filter(pl.int_range(pl.len()) % 5 > 0).write_parquet(tmp_path / "scores.parquet")
    settings = f"scores={tmp_path}/scores.parquet", f"out={tmp_path}/result", "decision.share=1.0"
    script("decide").main(composed("decide", "decision=audience", *settings))
    audience = pl.read_parquet(tmp_path / "result" / "audience.parquet")
    assert audience["expected_revenue"].is_sorted(descending=True) and (audience["expected_revenue"] == 0).any()


@pytest.mark.parametrize("currency", ["HUF", None])
def test_a_result_names_the_currency_of_the_log(currency: str | None) -> None:
    plain = DecisionResult("audience", pl.DataFrame(), ["a"], pl.DataFrame(), {"size": 1}, lambda figure: None)
    result = in_currency(plain, currency)
    assert result.sentences == (["a", "amounts are in HUF"] if currency else ["a"])
    assert result.summary.get("currency") == currency and result.summary["size"] == 1


def test_scores_in_another_folder_have_the_history_of_the_run_that_they_name(run: Path, tmp_path: Path) -> None:
    scores = gather(f"{run}/scores.parquet", None, None, None, None, 1, lambda _: None).scores
    save_scores([scores], tmp_path / "scores.parquet", run=run)
    history = gather(f"{tmp_path}/scores.parquet", None, None, None, None, 1, lambda _: None).history
    assert history is not None and to_date(history.day).isoformat() == scores.cutoff
    save_scores([scores], tmp_path / "moved.parquet", run=tmp_path / "nowhere")
    assert gather(f"{tmp_path}/moved.parquet", None, None, None, None, 1, lambda _: None).history is None


def test_scores_without_the_run_beside_them_say_where_to_write_them(tmp_path: Path) -> None:
    said: list[str] = []
    assert purchase_history_of(tmp_path / "config.yaml", "data/log", "2024-07-01", said.append) is None
    assert len(said) == 1 and "score again, or write the scores into the folder of their run" in said[0]
