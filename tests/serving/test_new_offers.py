"""Offers that are named when scores are asked for: any set of items, from a run, a bundle and Python, and bad input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

import propensity as pp
from propensity.api.model import Bundle, Model
from propensity.config import ScoreConfig
from propensity.data.event_log import EventLog, to_day
from propensity.errors import ConfigurationError
from propensity.serving.new_offers import SHIFT, fit_level
from propensity.serving.offer_definition import matches, named_offers, read_definitions
from propensity.serving.score import score
from propensity.serving.score_offers import score_offers
from serving.exported import Exported


def scored(exported: Exported, tmp_path: Path, definitions: Any, bundle: bool = False, **settings: Any) -> pl.DataFrame:
    """The table that the command writes."""
    (tmp_path / "offers.yaml").write_text(
        definitions if isinstance(definitions, str) else yaml.safe_dump(definitions, sort_keys=False)
    )
    place: dict[str, Any] = {"bundle": str(exported.bundle)} if bundle else {"run": str(exported.run)}
    config = ScoreConfig(cutoff=exported.cutoff, log=str(exported.log), offers=str(tmp_path / "offers.yaml"), **place)
    score_offers(replace(config, **settings), tmp_path / "s.parquet", lambda text: None)
    return pl.read_parquet(tmp_path / "s.parquet")


def wide(table: pl.DataFrame, value: str = "score") -> np.ndarray:
    return table.pivot("offer_id", index="customer_id", values=value).drop("customer_id").to_numpy()


def categories(log: Path) -> list[str]:
    return EventLog.open(log).items["category"].drop_nulls().unique().sort().to_list()


@pytest.fixture(scope="module")
def world(stacked: Exported) -> tuple[Exported, list[str]]:
    return stacked, categories(stacked.log)


@pytest.mark.parametrize("bundle", [False, True])
def test_an_offer_with_the_items_of_a_trained_one_has_its_scores(
    world: tuple[Exported, list[str]], bundle: bool, tmp_path: Path
) -> None:
    exported, names = world
    trained = score(exported.run, exported.cutoff, tmp_path / "t.parquet", str(exported.log), lambda text: None)
    chosen = names[:3]
    definitions = {f"again {name}": f"category = '{name}'" for name in chosen} | {
        "two": f"category IN ('{names[0]}', '{names[1]}')"
    }
    table = scored(exported, tmp_path, definitions, bundle)
    assert table.columns[:5] == pl.read_parquet(tmp_path / "t.parquet").columns[:5]
    place = [trained.offer.index(name) for name in chosen]
    np.testing.assert_allclose(wide(table)[:, :3], trained.probability[:, place], atol=2e-5)
    np.testing.assert_allclose(wide(table, "expected_revenue")[:, :3], trained.revenue[:, place], rtol=2e-3, atol=1e-3)
    assert table["offer_id"].unique(maintain_order=True).to_list() == list(definitions)


def test_run_bundle_and_python_agree_on_offers_that_were_never_trained(
    world: tuple[Exported, list[str]], tmp_path: Path
) -> None:
    exported, names = world
    items = EventLog.open(exported.log).items["item"].to_list()
    definitions = {"mixed": f"category <> '{names[0]}' and price < 5", "ids": items[::7], "one": [items[0]]}
    table = scored(exported, tmp_path, definitions)
    other = scored(exported, tmp_path, definitions, bundle=True)
    assert table.drop("score", "expected_revenue").equals(other.drop("score", "expected_revenue"))
    np.testing.assert_allclose(table["score"], other["score"], atol=2e-5)
    for model in (Model(exported.run, exported.log), Bundle(exported.bundle, exported.log)):
        np.testing.assert_allclose(model.score(exported.cutoff, offers=definitions)["score"], table["score"], atol=2e-5)
    path = tmp_path / "offers.yaml"
    assert pp.load(exported.run, exported.log).score(exported.cutoff, offers=path)["score"].equals(table["score"])


def test_nothing_at_or_after_the_cutoff_matters(world: tuple[Exported, list[str]]) -> None:
    exported, names = world
    log = EventLog.open(exported.log)
    day = to_day(exported.cutoff)
    later = log.day >= day
    random = np.random.default_rng(1)
    shuffled = replace(
        log,
        item=np.where(later, random.permutation(log.item), log.item).astype(np.int32),
        revenue=np.where(later, log.revenue * 9, log.revenue).astype(np.float32),
        quantity=np.where(later, log.quantity * 3, log.quantity).astype(np.float32),
    )
    definitions = {"cheap": "price < 4", "all but one": f"category <> '{names[0]}'"}
    model = Model(exported.run)
    want, got = (model.score(exported.cutoff, each, offers=definitions) for each in (log, shuffled))
    assert want.equals(got)


def test_offers_do_not_depend_on_their_company(world: tuple[Exported, list[str]]) -> None:
    exported, names = world
    model = Model(exported.run, exported.log)
    some = {"a": "brand = 'brand_005'", "b": f"category IN ('{names[1]}', '{names[2]}')"}
    together = model.score(exported.cutoff, offers={**some, "c": "price > 1", "d": "price > 2"})
    alone = model.score(exported.cutoff, offers={"b": some["b"]})
    np.testing.assert_allclose(together.filter(pl.col("offer_id") == "b")["score"], alone["score"], atol=1e-6)


def test_a_launch_is_scored_by_its_attributes(world: tuple[Exported, list[str]], tmp_path: Path) -> None:
    exported, names = world
    log = EventLog.open(exported.log)
    new = log.items.row(0, named=True) | {"item": "launch", "category": names[0]}
    items = (
        pl.concat([log.items, pl.DataFrame([new], schema=log.items.schema)])
        if log.items["item"].dtype == pl.String
        else None
    )
    if items is None:
        new["item"] = int(log.items["item"].max()) + 1  # type: ignore[arg-type]
        items = pl.concat([log.items, pl.DataFrame([new], schema=log.items.schema)])
    longer = replace(log, items=items, item_known=np.append(log.item_known, np.int32(-(2**30))))
    table = Model(exported.run).score(exported.cutoff, longer, offers={"launch": [new["item"]]})
    assert table.height > 0 and table["score"].is_between(0, 1).all() and table["expected_revenue"].is_finite().all()
    assert table["score"].n_unique() > 10


def test_ten_thousand_offers_are_scored(world: tuple[Exported, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    exported, _ = world
    items = EventLog.open(exported.log).items["item"].to_list()
    monkeypatch.setattr("propensity.serving.new_offers.TOGETHER", 7)
    table = Model(exported.run, exported.log).score(
        exported.cutoff, offers={f"o{k}": items[k : k + 3] for k in range(20)}
    )
    assert table["offer_id"].n_unique() == 20 and table["score"].is_between(0, 1).all()
    monkeypatch.setattr("propensity.serving.new_offers.MOST_PAIRS", 1_000)
    with pytest.raises(ConfigurationError, match=r"10,000 offers for \d+ customers are more than 1,000 pairs; give at"):
        Model(exported.run, exported.log).score(
            exported.cutoff, offers={f"o{k}": [items[k % 50]] for k in range(10_000)}
        )


BAD = {
    "names 'catgory', which is no column of the items; did you mean category?": {"x": "catgory = 'a'"},
    "names 'zzzzzz', which is no column of the items; there are item, category": {"x": "zzzzzz = 1"},
    "offer 'x' lists no item; give item ids": {"x": []},
    "matches none of .* items; check its values": {"x": "category = 'nowhere'"},
    "none of the 2 items of offer 'x' is in the log, such as 'nothing'": {"x": ["nothing", "none"]},
    "may only compare columns with values": {"x": "category = (SELECT 1)"},
    "may only compare columns with values, .* it reads ''": {"x": ""},
    "cannot be applied": {"x": "category = = 'a'"},
    "offer 'x' is 3; give a filter in quotes, or a list of item ids": {"x": 3},
    "offer 'x' is None; give a filter": {"x": None},
    "lists something that is no item id": {"x": [["a"]]},
    "cannot be the name of an offer": {" ": "price > 0"},
    "names no offer; write lines such as": {},
}


@pytest.mark.parametrize("words", BAD)
def test_bad_offers_are_one_sentence(world: tuple[Exported, list[str]], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        scored(world[0], tmp_path, BAD[words])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 'price > 0'\na: 'price > 1'\n", "names 'a' twice; give each offer a name of its own"),
        ("[1, 2]", "names no offer"),
        ("a: [1", "is no YAML"),
        ("\x00", "is no YAML"),
        ("", "names no offer"),
    ],
)
def test_a_file_that_names_no_offers_is_one_sentence(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "offers.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        read_definitions(tmp_path / "offers.yaml")
    with pytest.raises(ConfigurationError, match=r"missing.yaml cannot be read \(No such file"):
        read_definitions(tmp_path / "missing.yaml")


def test_a_trained_name_means_the_trained_items(world: tuple[Exported, list[str]], tmp_path: Path) -> None:
    exported, names = world
    own = scored(exported, tmp_path, {names[0]: f"category = '{names[0]}'"})
    assert own["offer_id"].unique().to_list() == [names[0]]
    with pytest.raises(
        ConfigurationError, match=f"offer '{names[0]}' has the name of an offer that the model was trai"
    ):
        scored(exported, tmp_path, {names[0]: f"category = '{names[1]}'"})


def test_settings_that_contradict_each_other_are_refused(world: tuple[Exported, list[str]], tmp_path: Path) -> None:
    refused: dict[str, dict[str, Any]] = {
        "top and top_per_customer exclude each other": {"top": 3, "top_per_customer": 2},
        "add top or top_per_customer": {"reasons": 2},
        "reasons explain scores of the trained horizon": {"reasons": 2, "top": 1, "horizons": [7, 14]},
    }
    for words, settings in refused.items():
        with pytest.raises(ConfigurationError, match=words):
            scored(world[0], tmp_path, {"x": "price > 0"}, bundle=True, **settings)


@pytest.mark.parametrize("bundle", [False, True])
def test_a_selection_of_new_offers_holds_the_highest_scores(
    world: tuple[Exported, list[str]], bundle: bool, tmp_path: Path
) -> None:
    exported, names = world
    definitions = {"cheap": "price < 4", "some": f"category IN ('{names[0]}', '{names[1]}')", "dear": "price >= 4"}
    every = scored(exported, tmp_path, definitions, bundle)
    best = scored(exported, tmp_path, definitions, bundle, top=5)
    by_offer = every.sort("score", descending=True).group_by("offer_id", maintain_order=True).head(5)
    assert best.height == 15 and best["offer_id"].unique(maintain_order=True).to_list() == list(definitions)
    key = ("offer_id", "customer_id")
    assert best.sort(key).equals(every.join(by_offer.select(key), on=key, how="semi").sort(key))
    two = scored(exported, tmp_path, definitions, bundle, top_per_customer=2)
    lowest = every.group_by("customer_id").agg(pl.col("score").min())
    assert two.height == 2 * lowest.height and (two.join(lowest, on="customer_id")["score_right"] <= two["score"]).all()
    assert two.columns == every.columns


@pytest.mark.parametrize("bundle", [False, True])
def test_reasons_of_a_new_offer_add_up_to_its_score(
    world: tuple[Exported, list[str]], bundle: bool, tmp_path: Path
) -> None:
    exported, names = world
    definitions = {"cheap": "price < 4", "again": f"category = '{names[0]}'"}
    table = scored(exported, tmp_path, definitions, bundle, top=1, reasons=4)
    assert table.columns[-3:] == ["base_value", "reasons", "why"] and table.height == 2
    for row in table.iter_rows(named=True):
        total = row["base_value"] + sum(each["contribution"] for each in row["reasons"])
        np.testing.assert_allclose(total, np.log(row["score"] / (1 - row["score"])), atol=2e-3)
        assert 1 < len(row["reasons"]) <= 5 and row["why"]
    bases = table["base_value"].to_list()
    assert bases[0] != bases[1]  # the level of an offer that was not trained is part of its base value


def test_unknown_ids_beside_known_ones_are_reported(world: tuple[Exported, list[str]]) -> None:
    log, said = EventLog.open(world[0].log), list[str]()
    first = log.items["item"][0]
    offers = named_offers(log, {"x": [first, "nothing", first]}, log.last_day, said.append)
    assert offers.item.tolist() == [0] and len(said) == 1 and "1 of 2 items of offer 'x' are not in the log" in said[0]


def test_items_that_are_sold_later_belong_to_no_offer(world: tuple[Exported, list[str]]) -> None:
    log = EventLog.open(world[0].log)
    later = replace(log, item_known=np.full_like(log.item_known, log.last_day))
    with pytest.raises(ConfigurationError, match="no item of offer 'x' is known before"):
        named_offers(later, {"x": "price > 0"}, log.last_day)


def test_a_filter_reads_every_kind_of_comparison() -> None:
    items = pl.DataFrame(
        {"item": [1, 2, 3], "brand": ["A", "B'c", None], "size": [1.0, 2.0, None], "Own": [True, False, True]}
    )
    for condition, want in {
        "brand = 'B''c'": [1], "brand IS NULL": [2], "size BETWEEN 1 AND 1.5": [0], "not (size > 1)": [0],
        "brand in ('A', 'B''c') and size >= 2": [1], '"Own" = true': [0, 2], "item = 3 or item = 1": [0, 2],
        "brand LIKE 'B%'": [1],
    }.items():  # fmt: skip
        assert matches(items, "x", condition).tolist() == want, condition


@pytest.mark.parametrize("rate", [0.02, 0.2, 0.6])
def test_a_level_makes_a_window_expect_what_happened_unless_purchases_are_few(rate: float) -> None:
    rng = np.random.default_rng(3)
    chance = rng.beta(1, 6, (20_000, 2)).astype(np.float32)
    bought = rng.random((20_000, 2)) < rate
    level = fit_level(chance, chance * 2, bought, bought * 3.0)
    odds = np.log(chance / (1 - chance)) + level.shift
    np.testing.assert_allclose((1 / (1 + np.exp(-odds))).sum(0) / bought.sum(0), 1.0, atol=0.05)
    np.testing.assert_allclose(level.factor, 1.5, atol=0.01)
    few = fit_level(chance[:5], chance[:5], np.zeros((5, 2), bool), np.zeros((5, 2)))
    assert (np.abs(few.shift) < 2 * SHIFT).all() and (few.factor == 1).all()
