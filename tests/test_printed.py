"""What is printed works: commands of README, docs, help pages, YAML and messages compose; those of a run are run."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import polars as pl
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from conftest import QUICK, SMALL
from printed import Printed, printed
from propensity.cli import main, verbs
from propensity.command import replacing
from propensity.config import conf_folder

ALL = [each for each in printed() if "plugins=[mine]" not in each.words]  # recipes: tests/test_recipes.py runs them
PARTIAL = ("...", "<")  # a command with an ellipsis leaves something to its reader


def test_commands_are_found_wherever_they_are_printed() -> None:
    places = {command.place for command in ALL}
    assert {"README.md", "data.md", "production.md", "decisions.md", "conf/train.yaml"} <= places
    assert any(place.startswith("src/propensity/") for place in places)
    assert {command.stem for command in ALL} == set(verbs())


@cache  # pages repeat each other's commands
def composed(stem: str, *words: str) -> DictConfig:
    """The configuration of a command; of a sweep, that of its first job."""
    settings = [each for each in words if not each.startswith("-") and not any(mark in each for mark in PARTIAL)]
    settings = replacing(stem, settings)
    for n, setting in enumerate(OverridesParser.create().parse_overrides(settings)):
        if setting.is_sweep_override():
            settings[n] = f"{setting.get_key_element()}={next(iter(setting.sweep_string_iterator()))}"
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose(stem, settings)


def is_partial(command: Printed) -> bool:
    """Whether something is left to the reader: an ellipsis, or all settings of a verb that is only mentioned."""
    return (command.place.endswith(".md") and not command.settings) or any(
        mark in word for word in command.words for mark in PARTIAL
    )


@pytest.mark.parametrize("command", ALL, ids=str)
def test_a_printed_command_composes(command: Printed) -> None:
    if command.stem == "init":
        return
    cfg = composed(command.stem, *command.settings)
    whole = not is_partial(command) and not command.place.startswith("src/")
    if whole and "check=true" not in command.words:
        assert OmegaConf.missing_keys(cfg) == set()
    for overrides in (cfg.get("variants") or {}).values():
        composed(command.stem, *command.settings, *overrides)


PAGES = [each for each in ALL if each.place.endswith(".md") or each.place.count("/") == 1]


@pytest.mark.parametrize(
    "command", [each for each in PAGES if each.stem in ("train", "backtest", "compare", "tune")], ids=str
)
def test_a_training_on_a_page_says_what_it_reads(command: Printed) -> None:
    if command.place == "CONTRIBUTING.md" or is_partial(command) or "--help" in command.words:
        return
    data = composed(command.stem, *command.settings)["data"]
    assert data["source"] is not None or data["log"] is not None


OF_A_RUN = {"run=runs/demo", "scores=runs/demo/scores.parquet", "bundle=bundle"}


# what stands in the small market for offers and prices of the demo's
SMALLER = {
    "CHEESE": "category_000",
    "DRY NOODLES/PASTA": "category_001",
    "PASTA SAUCE": "category_002",
    "cost=0.5": "cost=0.05",
    "data/shop": "data/complete_journey",
}


def of_a_run() -> list[list[str]]:
    """Printed commands that read the run of the demo, its scores or its bundle."""
    found = {command.words for command in PAGES if OF_A_RUN & {*command.words} and command.stem != "serve"}
    return [list(words) for words in sorted(found)]


def messages(scores: str) -> pl.DataFrame:
    """An experiment of messages: half of the pairs of two offers at two cutoffs, by a hash."""
    pairs = pl.read_parquet(scores, columns=["customer_id", "offer_id"]).unique().sort("customer_id", "offer_id")
    pairs = pairs.filter(pl.col("offer_id").is_in(["category_000", "category_001"]))
    pairs = pairs.join(pl.DataFrame({"cutoff": pl.Series(["2017-10-23", "2017-11-06"]).str.to_date()}), how="cross")
    sent = pl.struct("customer_id", "offer_id", "cutoff").hash(1) % 2 == 0
    return pairs.with_columns(
        arm=pl.when(sent).then(pl.lit("message")).otherwise(pl.lit("holdout")), probability=pl.lit(0.5)
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run where the demo's is printed to be: runs/demo, of a log at data/complete_journey, with its dates."""
    folder = tmp_path_factory.mktemp("printed")
    world = [*SMALL, "data.source.start=2017-06-20", "data.source.customers=500"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        main(["prepare", *world, "out=data/complete_journey"])
        settings = [*world, *QUICK, "data.log=data/complete_journey", "data.end=2017-10-16", "out=runs/demo"]
        main(["train", *settings])
        main(["evaluate", "run=runs/demo", "baselines=[]", "resamples=0"])
        shutil.copy("runs/demo/scores.parquet", "mine.parquet")  # at the cutoffs that an evaluation takes by default
        main(["evaluate", "run=runs/demo", "cutoffs=[2017-10-16,2017-11-13,2017-12-04]", "resamples=5"])
        main(["export", "run=runs/demo", "out=bundle", "rows=100"])
        main(["states", "run=runs/demo", "cutoff=2017-12-04", "out=runs/demo/states.parquet"])
        customers = pl.read_parquet("mine.parquet")["customer_id"].unique(maintain_order=True)[:9]
        cutoffs = pl.Series(["2017-11-06", "2017-11-13", "2017-12-04"] * 3).str.to_date()
        pl.DataFrame({"customer_id": customers, "cutoff": cutoffs}).write_parquet("requests.parquet")
        messages("mine.parquet").write_parquet("messages.parquet")
        customers.head(5).to_frame().write_csv("seeds.csv")
        Path("offers.yaml").write_text("two: \"category IN ('category_000', 'category_001')\"\n")
        Path("triggers.yaml").write_text("- {name: welcome, event: first_purchase, days: [3], offer: category_000}\n")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("words", of_a_run(), ids=" ".join)
def test_a_printed_command_of_a_run_runs(
    words: list[str], demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(demo, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    for name, ours in SMALLER.items():
        words = [word.replace(name, ours) for word in words]
    try:
        main(words)
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    if "evaluate.canary=true" in words:
        assert code == 4, "the canary must be found"
    else:  # a network of two steps may fail a gate
        assert code == 0 or (code == 4 and words[0] in ("gate", "drift"))
