"""The command: it learns, reads nothing of the end or later, and train starts from what it wrote."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from conftest import QUICK, SMALL
from propensity.data.event_log import to_date, to_day
from propensity.errors import ConfigurationError, DamageError, DataError
from propensity.pretrain.run import pretrain
from propensity.training.pretrained import FILE, Pretrained
from propensity.training.run import train

SETTINGS = (
    *(*SMALL, "model.width=8", "model.encoder.layers=1", "batch=32", "queries=4", "steps=30", "optimizer.lr=0.01"),
    *("prefetch_threads=0", "contrastive=0.1", "held_out=0.2"),
)
ENCODER = ("model/encoder=hstu", "model.encoder.layers=1")


@pytest.fixture(scope="module")
def pretrained(small_world: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Folder and summary of a pretraining on events before `end_of(small_world)`."""
    out = tmp_path_factory.mktemp("pretrained") / "run"
    return out, pretrain(configuration(small_world, out))


def end_of(world: dict[str, Any]) -> str:
    """Five weeks before the end of the log."""
    return to_date(world["log"].last_day - 34).isoformat()


def configuration(world: dict[str, Any], out: Path, *more: str) -> Any:
    from hydra import compose, initialize_config_dir

    from propensity.command import typed
    from propensity.config import conf_folder

    settings = [*SETTINGS, f"data.log={world['folder']}", f"data.end={end_of(world)}", f"out={out}", *more]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return typed(compose("pretrain", overrides=settings))


def training(world: dict[str, Any], composed: Callable[..., Any], out: Path, *more: str) -> Any:
    settings = [*SMALL, *QUICK, *ENCODER, f"data.log={world['folder']}", f"data.end={end_of(world)}"]
    return composed("train", *settings, f"out={out}", *more)


def test_pretraining_lowers_the_losses_of_customers_who_are_held_out(
    pretrained: tuple[Path, dict[str, Any]],
) -> None:
    folder, summary = pretrained
    before, after = summary["losses"]["before"], summary["losses"]["after"]
    assert set(before) == set(after) == {"next_period", "next_visit", "masked_basket", "contrastive"}
    assert all(after[name] < before[name] for name in ("next_period", "next_visit", "masked_basket"))
    assert summary == json.loads((folder / "pretraining.json").read_text())


def test_embeddings_are_tables_of_all_customers_items_and_offers(
    small_world: dict[str, Any], pretrained: tuple[Path, dict[str, Any]]
) -> None:
    folder, summary = pretrained
    tables = {name: pl.read_parquet(folder / f"{name}.parquet") for name in ("customers", "items", "offers")}
    assert [table.columns[0] for table in tables.values()] == ["customer_id", "item_id", "offer_id"]
    assert all(table.width == 9 and table[:, 0].is_unique().all() for table in tables.values())
    assert tables["customers"].height == summary["customers"] + summary["held_out"]
    assert tables["offers"].height == summary["offers"] and tables["items"].height == small_world["log"].items.height
    assert tables["customers"].drop("customer_id").to_numpy().std(0).min() > 0


@pytest.mark.slow
def test_events_of_the_end_and_later_change_nothing(
    small_world: dict[str, Any], pretrained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder = tmp_path / "log"
    shutil.copytree(small_world["folder"], folder)
    later = np.load(folder / "day.npy") >= to_day(end_of(small_world))
    order = np.random.default_rng(0).permutation(np.flatnonzero(later))
    changed = []
    for name in ("item", "kind", "channel", "quantity", "revenue", "discount"):
        column = np.load(folder / f"{name}.npy")
        shuffled = column.copy()
        shuffled[later] = column[order]
        np.save(folder / f"{name}.npy", shuffled)
        changed.append((shuffled != column).sum())
    assert later.sum() > 100 and changed[0] > 50
    config = configuration(small_world | {"folder": folder}, tmp_path / "run", "data.verify=false")
    assert pretrain(config) == pretrained[1]
    first, second = (Pretrained.load(each).state for each in (pretrained[0], tmp_path / "run"))
    assert all(torch.equal(first[name], second[name]) for name in first) and len(first) == len(second)
    for table in ("customers", "items", "offers"):
        one, other = (pl.read_parquet(each / f"{table}.parquet") for each in (pretrained[0], tmp_path / "run"))
        assert one.equals(other)


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [True, False])
def test_a_training_starts_from_the_encoder_and_keeps_it_where_it_is_frozen(
    small_world: dict[str, Any],
    composed: Callable[..., Any],
    pretrained: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    frozen: bool,
) -> None:
    folder, _ = pretrained
    more = (f"pretrained={folder}", f"frozen={str(frozen).lower()}", "training.averaging=null")
    model = train(training(small_world, composed, tmp_path / "run", *more))[0]
    found, member = Pretrained.load(folder).state, model.members[0].state_dict()
    names = [name for name in found if name.startswith("encoder.")]
    same = [torch.equal(found[name], member[name]) for name in names]
    assert len(names) > 5 and (all(same) if frozen else not all(same))
    for name in names:  # two steps are near the start
        torch.testing.assert_close(found[name], member[name], rtol=0, atol=0.02)


def test_rows_of_embeddings_are_matched_by_name(
    small_world: dict[str, Any], pretrained: tuple[Path, dict[str, Any]], composed: Callable[..., Any]
) -> None:
    from dataclasses import replace

    from hydra.utils import instantiate

    from propensity.training.pretrained import start_from_pretrained

    found = Pretrained.load(pretrained[0])
    items = {name: tuple(reversed(values)) for name, values in reversed(found.vocabulary.items.items())}
    offers = (*found.vocabulary.offers[1:], "another")
    vocabulary = replace(found.vocabulary, items=items, offers=offers)
    sizes = small_world["task"].feature.sizes(vocabulary)
    model = instantiate(composed("train", *ENCODER, "model.width=8").model, sizes=sizes)
    kept = model.members[0].offer.name.weight[-1].clone()
    start_from_pretrained(model, found, vocabulary, frozen=False)
    member = model.members[0]
    first = next(iter(found.vocabulary.items))
    own = member.event_token.attribute[list(items).index(first)].weight
    torch.testing.assert_close(own[1], found.state["event_token.attribute.0.weight"][-1])
    torch.testing.assert_close(member.offer.name.weight[1], found.state["offer.weight"][2])
    torch.testing.assert_close(member.offer.name.weight[-1], kept)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("model.width=16",), "is 8 wide and model.width=16; give one width to both"),
        (("model.encoder.heads=2",), "heads=4 there and heads=2 here"),
        (("model.encoder.tokens=baskets",), "tokens=items there and tokens=baskets here"),
        (("warm=somewhere",), "pretrained and warm are two weights to start from"),
        (("data.end=2024-05-01",), "and this training validates on label windows from 2024-05-01 on"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(
    small_world: dict[str, Any],
    composed: Callable[..., Any],
    pretrained: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    more: tuple[str, ...],
    words: str,
) -> None:
    config = training(small_world, composed, tmp_path / "run", f"pretrained={pretrained[0]}", *more)
    with pytest.raises(ConfigurationError, match=words):
        train(config)


def test_frozen_without_a_pretrained_encoder_and_a_missing_one_are_refused(
    small_world: dict[str, Any], composed: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="frozen=true keeps a pretrained encoder as it is; name one"):
        train(training(small_world, composed, tmp_path / "run", "frozen=true"))
    with pytest.raises(ConfigurationError, match="no pretrained encoder at nowhere/pretrained.ckpt; write one with"):
        train(training(small_world, composed, tmp_path / "run", "pretrained=nowhere"))


def test_a_damaged_or_foreign_file_is_refused(pretrained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    content = (pretrained[0] / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(content[:-400] + b"x" + content[-399:])
    with pytest.raises(DamageError, match="pretrain again"):
        Pretrained.load(tmp_path)
    torch.save({"format": 9}, tmp_path / FILE)
    with pytest.raises(DataError, match="is no pretrained encoder of format 1; pretrain again"):
        Pretrained.load(tmp_path)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("batch=5000",), "fewer than a batch of 5,000; lower batch"),
        (("model.encoder.heads=3",), "a width of 8 cannot be shared by 3 heads; change model.encoder.heads"),
        (("model/encoder=gru", "~model.encoder.layers"), "Gru is none; choose model/encoder=hstu"),
        (("model.encoder=null",), "leaves nothing to pretrain; choose hstu"),
        (("next_period=0", "next_visit=0", "masked_basket=0", "contrastive=0"), "leave nothing to learn"),
        (("data.offer.min_buyers=100000",), "no offer has 100000 buyers before"),
    ],
)
def test_what_cannot_be_pretrained_is_refused(
    small_world: dict[str, Any], tmp_path: Path, more: tuple[str, ...], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        pretrain(configuration(small_world, tmp_path / "run", *more))
    assert not (tmp_path / "run").exists()
