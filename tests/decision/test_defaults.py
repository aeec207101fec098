"""Defaults come from the log: every decision works, or refuses in one sentence, on a shop unlike the demo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from conftest import SMALL
from propensity.config import conf_folder
from propensity.data.offer.column import ColumnOffers
from propensity.decision.context import DecisionContext
from propensity.decision.history import PurchaseHistory
from propensity.decision.result import DecisionResult
from propensity.errors import ConfigurationError, InfeasibleError
from propensity.ingest.build import build_log
from propensity.ingest.source import Tables
from propensity.scores import Scores, save_scores
from random_log import random_tables
from test_straight_line import script

Compose = Callable[..., DictConfig]
OPTIONS = sorted(path.stem for path in (conf_folder() / "decision").glob("*.yaml"))
NEED_REVENUE = ("allocate", "campaign", "channel", "next_best", "opportunity", "overlap")


def shop_tables(seed: int = 5, customers: int = 60) -> Tables:
    """Raw tables of a shop with titles, genres and formats, and without brand, department, prices, channels, orders."""
    tables = random_tables(seed, customers=customers)
    items = pl.DataFrame(
        {
            "item": [f"item {k:03d}" for k in range(14)],
            "title": [f"title {k % 7}" for k in range(14)],
            "genre": [f"genre {k % 7 % 3}" for k in range(14)],
            "format": [None if k == 3 else "paper" if k % 2 else "audio" for k in range(14)],
            "isbn": [f"978-{k:04d}" for k in range(14)],
        }
    )
    events = tables.events.drop("channel", "order", "discount").with_columns(revenue=pl.lit(0.0))
    return tables._replace(events=events, items=items.lazy())


def shop(offers: int = 7, priced: bool = True) -> DecisionContext:
    """Scores of the shop's titles with its log; `priced`: with expected revenue."""
    tables = shop_tables()
    if priced:
        tables = tables._replace(events=tables.events.with_columns(revenue=pl.col("quantity").abs() * 2.0))
    log = build_log(tables)
    history = PurchaseHistory(log, ColumnOffers("title", min_buyers=1), log.last_day - 30)
    who = log.customer_id[log.purchasers(history.day)]
    chance = np.random.default_rng(1).beta(1, 4, (who.size, offers)).astype(np.float32)
    names = tuple(f"title {k}" for k in range(offers))
    money = chance * 5 if priced else np.zeros_like(chance)
    return DecisionContext(Scores(who, names, chance, money, "2024-03-05", "test"), history=history)


def decide(composed: Compose, context: DecisionContext, option: str, *settings: str) -> DecisionResult:
    """The decision as the command line composes it."""
    cfg = composed("decide", f"decision={option}", *settings, "scores=x", "out=y")
    result: DecisionResult = instantiate(cfg.decision, _convert_="all")(context)
    return result


def few(option: str) -> tuple[str, ...]:
    """Settings that a shop of few customers needs."""
    return ("decision.max_k=4",) if option == "segment" else ()


@pytest.mark.parametrize("option", OPTIONS)
def test_every_decision_works_on_items_with_other_columns(option: str, composed: Compose) -> None:
    assert decide(composed, shop(), option, *few(option)).table.height > 0


@pytest.mark.parametrize("option", OPTIONS)
def test_one_offer_is_enough_or_refused_in_one_sentence(option: str, composed: Compose) -> None:
    if option == "overlap":
        with pytest.raises(ConfigurationError, match="an overlap needs two offers and the scores hold 1"):
            decide(composed, shop(offers=1), option)
        return
    assert decide(composed, shop(offers=1), option, *few(option)).table.height > 0


@pytest.mark.parametrize("option", OPTIONS)
def test_without_prices_a_decision_ranks_by_probability_or_is_refused_in_one_sentence(
    option: str, composed: Compose
) -> None:
    context = shop(priced=False)
    if option in NEED_REVENUE:
        with pytest.raises(InfeasibleError, match="expect no revenue of any offer, so a contact has no value"):
            decide(composed, context, option)
        return
    result = decide(composed, context, option, *few(option))
    assert result.table.height > 0
    if option == "audience":
        assert result.summary["ranked_by"] == "probability" and result.table["score"].is_sorted(descending=True)
        with pytest.raises(InfeasibleError, match="expect no revenue"):
            decide(composed, context, option, "decision.by=margin")


@pytest.mark.parametrize("option", OPTIONS)
def test_a_shop_of_ones_own_needs_scores_and_out_alone(option: str, composed: Compose, tmp_path: Path) -> None:
    log = build_log(shop_tables())
    log.save(tmp_path / "log")
    small = [setting for setting in SMALL if not setting.startswith("data.source")]
    cfg = composed("train", *small, "data.offer.column=title", f"data.log={tmp_path}/log", "out=x")
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(cfg))
    save_scores([shop().scores], tmp_path / "scores.parquet")
    out = tmp_path / "result"
    settings = f"decision={option}", f"scores={tmp_path}/scores.parquet", f"out={out}", *few(option)
    script("decide").main(composed("decide", *settings))
    assert (out / f"{option}.parquet").is_file() and (out / f"{option}.png").is_file()


def test_automatic_shares_are_those_of_text_columns_with_few_values(composed: Compose) -> None:
    context = shop()
    named = decide(composed, context, "segment", *few("segment")).summary["named"]
    mainly = {name for name in named if name.startswith("mainly ")}
    titles = {f"mainly title title {k}" for k in range(7)}
    assert mainly - titles <= {
        *(f"mainly genre genre {k}" for k in range(3)),
        "mainly format audio",
        "mainly format paper",
    }
    assert {"mainly format audio", "mainly format paper"} <= mainly, "isbn has too many values, and null is none"
    assert {"new", "active", "dormant", "lapsed"} <= set(named)
    history = context.history
    assert history is not None
    log = history.log
    audio = np.array(log.items["format"].to_list(), dtype=object)[log.item] == "audio"
    year = (log.kind == 0) & (log.day < history.day) & (log.day >= history.day - 364)
    owner = np.repeat(np.arange(len(log)), np.diff(log.offsets))
    spend = [np.bincount(owner, log.revenue * mask, minlength=len(log)) for mask in (year & audio, year)]
    expected = int((spend[0] / np.maximum(spend[1], 0.01) >= 0.6).sum())
    assert named["mainly format audio"] == expected


def test_categories_are_the_coarsest_column_that_joins_whole_offers(composed: Compose) -> None:
    heat = decide(composed, shop(), "opportunity").extra_tables["heat"]
    assert set(heat["category"]) == {"genre 0", "genre 1", "genre 2"}


def test_built_in_segments_and_groups_without_their_columns_are_left_out_and_named(composed: Compose) -> None:
    scores = shop().scores
    ids = [str(customer) for customer in scores.customer]
    table = pl.DataFrame({"customer_id": ids, "tenure": np.arange(len(ids))})
    context = DecisionContext(scores, customers=table)
    segments = decide(composed, context, "segment", *few("segment"))
    assert list(segments.summary["named"]) == ["new"]
    words = "named segments left out, because customers lack a column: active (needs recency), dormant (needs recency)"
    assert any(sentence.startswith(words) for sentence in segments.sentences)
    groups = decide(composed, context, "opportunity")
    assert set(groups.extra_tables["heat"]["group"]) == {"new"}
    words = "groups left out, because customers lack a column: active (needs recency), dormant (needs recency)"
    assert groups.sentences[-1].startswith(words)
    with pytest.raises(ConfigurationError, match=r"decision.named.mine \(recency < 9\) cannot be applied"):
        decide(composed, context, "segment", 'decision.named={mine: "recency < 9"}')


@pytest.mark.parametrize(
    ("option", "setting", "value", "expected"),
    [
        ("segment", "named", '{vip: "spend_rank >= 0.9", late: "recency > 60"}', {"vip", "late"}),
        ("segment", "shares", "{audio: \"format = 'audio'\"}", {"audio"}),
        ("opportunity", "groups", '{late: "recency > 60"}', {"late"}),
        ("campaign", "capacity", "{mail: 500}", {"mail"}),
        ("next_best", "capacity", "{mail: 500, app: 9}", {"mail", "app"}),
        ("channel", "cost", "{mail: 0.6, app: 0.01}", {"mail", "app"}),
    ],
)
def test_mappings_are_set_emptied_and_replaced_from_the_command_line(
    option: str, setting: str, value: str, expected: set[str], composed: Compose
) -> None:
    def composed_value(*settings: str) -> Any:
        decision = composed("decide", f"decision={option}", *settings, "scores=x", "out=y").decision
        return instantiate(decision, _convert_="all").__dict__[setting]

    assert set(composed_value(f"decision.{setting}={value}")) == expected
    assert composed_value(f"decision.{setting}={{}}") == {}
    other = "{other: 1}" if option in ("campaign", "next_best", "channel") else '{other: "recency > 9"}'
    replaced = composed_value(f"decision.{setting}={value}", f"decision.{setting}=null", f"decision.{setting}={other}")
    assert set(replaced) == {"other"}


def test_an_empty_mapping_names_no_segment_and_no_share(composed: Compose) -> None:
    result = decide(composed, shop(), "segment", *few("segment"), "decision.shares={}", "decision.named={}")
    assert result.summary["named"] == {} and result.table.columns == ["customer_id", "segment"]
    heat = decide(composed, shop(), "opportunity", "decision.groups={}").extra_tables["heat"]
    assert set(heat["group"]) == {"everybody"}
