"""Each recipe of CONTRIBUTING.md runs as printed in a project outside the package, and its part keeps its contract."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
import torch

from baseline import test_baselines
from conftest import QUICK
from decision import test_decide
from loss import test_loss
from model import test_encoders
from propensity import trust
from propensity.cli import main
from propensity.data.event_log import EventLog
from propensity.project import make_project
from propensity.task import Task
from propensity.training.checkpoint import load_trained

REPOSITORY = Path(__file__).parents[1]
BLOCK = re.compile(r"```(python|yaml|sh)\n(.*?)```", re.DOTALL)
SIZES = ("data.cutoff.count=4", "data.feature.history=24", "data.market_stats.references=3")
KINDS = {"Encoder", "Loss", "Feature column", "Metric", "Source", "Baseline", "Decision", "Callback"}


class Recipe(NamedTuple):
    """The files of a recipe by their path in a project, and its commands without the first word."""

    files: dict[str, str]
    commands: list[list[str]]


def recipe(section: str) -> Recipe:
    """The fenced blocks of a section: a file opens with its name in a comment, commands stand in sh."""
    files, commands = {}, []
    for language, text in BLOCK.findall(section):
        if language == "sh":
            lines = text.replace("\\\n", " ").splitlines()
            commands += [shlex.split(line)[1:] for line in lines if line.startswith("propensity ")]
        else:
            files[text.splitlines()[0].removeprefix("# ")] = text
    return Recipe(files, commands)


def recipes() -> dict[str, Recipe]:
    """The recipes of CONTRIBUTING.md by kind of part; that of a feature column stands in docs/features.md."""
    page = (REPOSITORY / "CONTRIBUTING.md").read_text()
    part = page.split("\n## Adding a part\n")[1].split("\n## ")[0]
    found = {title: recipe(text) for title, _, text in (each.partition("\n") for each in part.split("\n### ")[1:])}
    column = (REPOSITORY / "docs/features.md").read_text().split("\n## Adding a column\n")[1].split("\n## ")[0]
    return found | {"Feature column": recipe(column)}


RECIPES = recipes()


def run(command: list[str], *settings: str) -> int:
    """The exit code of a command in this process, with further settings."""
    try:
        main([*command, *settings])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with the files of all recipes and its log prepared, as the working folder."""
    folder = tmp_path_factory.mktemp("recipes") / "shop"
    make_project(folder)
    for each in RECIPES.values():
        for name, text in each.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [*sys.argv])
        patch.setattr(sys, "path", [*sys.path])
        patch.setattr(trust, "_named", {})
        patch.delenv(trust.VARIABLE, raising=False)
        assert run(["prepare"]) == 0
        yield folder
    for name in [name for name in sys.modules if name.split(".")[0] in ("mine", "shop_parts")]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def trained(shop: Path) -> Path:
    """The run of the encoder's recipe."""
    train, _ = RECIPES["Encoder"].commands
    assert run(train, *QUICK, *SIZES) == 0
    return shop / "runs/lru"


@pytest.fixture(scope="module")
def evaluated(trained: Path) -> Path:
    """The same run, evaluated by the metric's recipe beside a model whose probabilities are those of no purchase."""
    (evaluate,) = RECIPES["Metric"].commands
    _, score = RECIPES["Encoder"].commands
    assert run(score) == 0
    scores = pl.read_parquet(trained / "scored.parquet")
    scores.with_columns(score=1 - pl.col("score")).write_parquet("opposite.parquet")
    few = ("cutoffs=[2024-06-20]", "baselines=[popularity]", "resamples=20", "heuristics=false")
    assert run(evaluate, *few, "also={opposite: opposite.parquet}") == 0
    return trained


def read_metrics(folder: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return metrics


def curve(folder: Path) -> list[dict[str, str]]:
    """The rows of a run's metrics.csv."""
    (path,) = folder.rglob("metrics.csv")
    with path.open() as file:
        return list(csv.DictReader(file))


def values(rows: list[dict[str, str]], name: str) -> list[float]:
    return [float(row[name]) for row in rows if row[name]]


def test_contributing_has_a_recipe_of_every_kind() -> None:
    assert set(RECIPES) == KINDS
    for each in RECIPES.values():
        assert each.commands and all("plugins=[mine]" in command for command in each.commands)
        assert any(name.startswith("mine/") for name in each.files)
        assert all(name.startswith(("mine/", "conf/")) for name in each.files)


def test_an_encoder_trains_and_scores_where_its_plugin_is_named(trained: Path) -> None:
    assert [type(member.encoder).__module__ for member in load_trained(trained).model.members] == ["mine.lru"]  # type: ignore[union-attr]
    _, score = RECIPES["Encoder"].commands
    assert run(score) == 0
    scores = pl.read_parquet(trained / "scored.parquet")["score"]
    assert scores.is_between(0, 1).all() and scores.n_unique() > 100


def test_its_checkpoint_is_refused_without_the_plugin(trained: Path, shop: Path) -> None:
    _, score = RECIPES["Encoder"].commands
    command = [word for word in score if not word.startswith("plugins=")]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    program = [sys.executable, "-m", "propensity.cli", *command]
    done = subprocess.run(program, cwd=shop, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 5
    assert "asks for mine.lru.Lru; if you trust the package mine, add plugins=[mine]" in done.stderr


def test_an_encoder_keeps_the_contract_of_encoders(shop: Path, composed: Callable[..., Any]) -> None:
    trust.use_plugins(["mine"])
    encoder = test_encoders.encoder.__wrapped__(SimpleNamespace(param="lru"), composed)  # type: ignore[attr-defined]
    events = test_encoders.events.__wrapped__()  # type: ignore[attr-defined]
    test_encoders.test_a_customer_without_history_gets_a_finite_state(encoder, events)
    test_encoders.test_padding_changes_nothing(encoder, events)
    test_encoders.test_a_customer_does_not_see_the_others(encoder, events)
    test_encoders.test_every_real_event_counts(encoder, events)
    test_encoders.test_weights_learn(encoder, events)


def test_a_loss_trains_and_its_terms_are_logged(shop: Path, composed: Callable[..., Any]) -> None:
    (train,) = RECIPES["Loss"].commands
    longer = [each.replace("max_steps=2", "max_steps=12").replace("max_epochs=1", "max_epochs=3") for each in QUICK]
    assert run(train, *longer, *SIZES) == 0
    rows = curve(shop / "runs/focal")
    focal, purchase = (values(rows, f"train/{name}") for name in ("focal", "purchase"))
    assert focal == values(rows, "train/loss_step") and len(focal) > 0
    assert all(small < whole for small, whole in zip(focal, purchase, strict=True))
    test_loss.test_every_loss_is_finite_and_teaches("focal", composed)


def test_without_a_focus_the_focal_loss_is_the_cross_entropy(shop: Path) -> None:
    trust.use_plugins(["mine"])
    from mine.focal import Focal  # type: ignore[import-not-found]

    terms = Focal(gamma=0.0)(*test_loss.member_outputs())
    torch.testing.assert_close(terms.total, terms.parts["purchase"])


def test_a_feature_column_reaches_the_pair_inputs(shop: Path) -> None:
    (train,) = RECIPES["Feature column"].commands
    assert run(train, *QUICK, *SIZES) == 0
    trained = load_trained(shop / "runs/promoted")
    assert trained.task.feature.pair[-1] == "promoted_share_182"
    _, inputs = next(iter(trained.task.training_set(trained.task.open()).cutoffs_data[-1].blocks()))
    pair = np.asarray(inputs.pair)
    bought = pair[..., trained.task.feature.pair.index("days_182")] > 0
    np.testing.assert_array_equal(pair[..., -1], np.where(bought, 0.0, np.nan), "the sample has no discounts")
    assert 0 < bought.mean() < 1


def test_a_metric_is_in_every_place_with_its_direction(evaluated: Path) -> None:
    metrics = read_metrics(evaluated)
    value = {name: model["mean"]["all"]["brier"]["value"] for name, model in metrics["models"].items()}
    assert 0 < value["network"] < value["opposite"] < 1
    for name, differences in metrics["differences"].items():
        cell = differences["mean"]["all"]["brier"]
        assert cell["value"] == pytest.approx(value["network"] - value[name])
        assert cell["verdict"] == ("win" if cell["high"] < 0 else "loss" if cell["low"] > 0 else "tie")
    assert metrics["differences"]["opposite"]["mean"]["all"]["brier"]["verdict"] == "win"
    assert all("Brier score" in (evaluated / name).read_text() for name in ("report.html", "report.md"))


def test_a_source_prepares_a_log_whose_rows_are_conserved(shop: Path) -> None:
    (prepare,) = RECIPES["Source"].commands
    assert run(prepare) == 0
    delivered = pl.read_csv(shop / "raw/sales.csv")
    rows = json.loads((shop / "data/webshop/meta.json").read_text())["rows"]
    low = delivered.filter(pl.col("amount") < 2).height
    assert rows["dropped"] == {"amount below the minimum": low} and low > 0
    assert rows["in"] == delivered.height == rows["used"] + low
    log = EventLog.open(shop / "data/webshop")
    assert log.day.size == delivered.height - low
    assert float(log.revenue.sum()) == pytest.approx(delivered.filter(pl.col("amount") >= 2)["amount"].sum(), rel=1e-5)
    assert set(log.items["category"]) == set(delivered["category"])


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        ("nowhere.csv", 2, "no file at nowhere.csv; give data.source.path=<CSV file>"),
        ("short.csv", 3, "short.csv has no column amount; deliver it again"),
    ],
)
def test_a_source_without_its_table_is_one_sentence(
    path: str, code: int, words: str, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop / "short.csv").write_text("card,date,sku,units,category\n1,2024-05-01,a,1,b\n")
    (prepare,) = RECIPES["Source"].commands
    settings = [word for word in prepare if not word.startswith("out=")]
    assert run(settings, f"data.source.path={path}", "out=data/none") == code
    assert words in capsys.readouterr().err and not (shop / "data/none").exists()


def test_a_baseline_stands_beside_the_others(evaluated: Path, composed: Callable[..., Any]) -> None:
    (evaluate,) = RECIPES["Baseline"].commands
    assert run(evaluate, "baselines=[popularity,recency]", "resamples=0", "heuristics=false") == 0
    metrics = read_metrics(evaluated)
    assert set(metrics["models"]) == {"network", "popularity", "recency"} == {"network", *metrics["differences"]}
    scores = pl.read_parquet(evaluated / "recency.parquet")
    assert scores.height == pl.read_parquet(evaluated / "popularity.parquet").height
    assert scores["score"].is_between(0, 1).all()


def test_a_baseline_keeps_the_contract_of_baselines(shop: Path, composed: Callable[..., Any]) -> None:
    trust.use_plugins(["mine"])
    task: Task = trained_task(composed)
    world = {"examples": task.training_set(task.open())}

    def chosen(name: str, *overrides: str) -> Any:
        return composed(name, "baseline=mine", *overrides)

    test_baselines.test_a_baseline_gives_the_same_scores_twice("recency", world, chosen)
    test_baselines.test_a_baseline_ranks_buyers_of_its_training_window_first("recency", world, chosen)


def trained_task(composed: Callable[..., Any]) -> Task:
    from hydra.utils import instantiate

    task: Task = instantiate(composed("train", *SIZES, "data.end=2024-06-20").data, _convert_="all")
    return task


def test_a_decision_leaves_its_table(
    evaluated: Path, composed: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (decide,) = RECIPES["Decision"].commands
    assert run(decide) == 0
    table = pl.read_parquet(evaluated / "best_offer/best_offer.parquet")
    scores = pl.read_parquet(evaluated / "scores.parquet").filter(pl.col("cutoff") == pl.col("cutoff").max())
    best = scores.group_by("customer_id").agg(pl.col("expected_revenue").max()).sort("expected_revenue").tail(40)
    assert table.height == 40 and table["customer_id"].n_unique() == 40
    assert table["expected_revenue"].to_list() == best["expected_revenue"].reverse().to_list()
    pairs = table.join(scores, on=["customer_id", "offer_id", "expected_revenue"])
    assert pairs.height == 40, "each is the score of that pair"
    test_decide.test_every_decision_runs_with_scores_and_out_alone("best_offer", evaluated, composed, tmp_path, capsys)


def test_a_callback_is_called(shop: Path) -> None:
    (train,) = RECIPES["Callback"].commands
    longer = [each.replace("max_steps=2", "max_steps=12").replace("max_epochs=1", "max_epochs=3") for each in QUICK]
    assert run(train, *longer, *SIZES) == 0
    norms = values(curve(shop / "runs/gradient_norm"), "train/gradient_norm")
    assert norms and all(norm > 0 for norm in norms)
