"""Channels: shares are shrunk counts, the best channel earns most after its cost, and consent is needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from decision.known import OFFERS, context_with_history
from propensity.decision.channel import Channel, counted_shares
from propensity.decision.context import DecisionContext
from propensity.errors import ConfigurationError, DataError
from propensity.scores import ChannelShares, load_shares, save_shares


@pytest.fixture(scope="module")
def known() -> DecisionContext:
    return context_with_history(5, customers=90, days=30)


def test_shares_are_the_customers_counts_shrunk_towards_the_offers(known: DecisionContext) -> None:
    history = known.history
    assert history is not None
    log = history.log
    names, share = counted_shares(history, known.scores.customer, OFFERS, customer_prior=5.0, offer_prior=50.0)
    assert names == ["app", "store"]
    np.testing.assert_allclose(share.sum(axis=2), 1.0)
    seen = (log.kind == 0) & (log.day < history.day) & (log.day >= history.day - 364) & (log.channel >= 0)
    category = np.array(log.items["category"].to_list(), dtype=object)[log.item]
    owner = np.repeat(np.arange(len(log)), np.diff(log.offsets))
    total = np.bincount(log.channel[seen], minlength=2) / seen.sum()
    for m, offer in enumerate(OFFERS):
        sold = np.bincount(log.channel[seen & (category == offer)], minlength=2)
        prior = (sold + 50 * total) / (sold.sum() + 50)
        for n in range(0, known.scores.customer.size, 9):
            row = history.rows(known.scores.customer[n : n + 1])[0]
            own = np.bincount(log.channel[seen & (owner == row)], minlength=2)
            np.testing.assert_allclose(share[n, m], (own + 5 * prior) / (own.sum() + 5))


def test_the_best_channel_earns_most_after_its_cost(known: DecisionContext) -> None:
    result = Channel(cost={"store": 0.3}, default_cost=0.05, margin=0.5)(known)
    assert known.history is not None
    _, share = counted_shares(known.history, known.scores.customer, OFFERS, 5.0, 50.0)
    for row in result.table.to_dicts()[::7]:
        n = known.scores.customer.tolist().index(row["customer_id"])
        m = OFFERS.index(row["offer_id"])
        worth = 0.5 * known.scores.revenue[n, m] * share[n, m] - np.array([0.05, 0.3])
        expected = ["app", "store"][int(worth.argmax())] if worth.max() > 0 else None
        assert row["best_channel"] == expected and row["expected_value"] == pytest.approx(max(worth.max(), 0.0))
        assert row["score_app"] + row["score_store"] == pytest.approx(known.scores.probability[n, m], rel=1e-5)
    assert result.summary["value"] >= max(result.summary["one_channel"].values())


def test_what_the_network_has_learned_takes_the_place_of_what_is_counted(
    known: DecisionContext, tmp_path: Path
) -> None:
    who, path = known.scores.customer, tmp_path / "channels.parquet"
    assert load_shares(path, "2024-03-05", who) is None
    share = np.random.default_rng(2).dirichlet([1.0, 1.0, 1.0], who.size)
    names = ("app", "post", "store")
    earlier = ChannelShares(who, names, share[::-1], "2024-02-05")
    save_shares([earlier, ChannelShares(who[::-1], names, share[::-1], "2024-03-05")], path)
    assert pl.read_parquet(path).columns == ["cutoff", "customer_id", "channel", "share"]
    assert load_shares(path, "2024-04-05", who) is None
    learned = load_shares(path, "2024-03-05", who)
    assert learned is not None and learned.channel == names
    np.testing.assert_array_equal(learned.share, share)
    result = Channel(default_cost=0.0, learned=True)(replace(known, channel_shares=learned, history=None))
    for row in result.table.to_dicts()[::7]:
        n, m = who.tolist().index(row["customer_id"]), OFFERS.index(row["offer_id"])
        assert row["best_channel"] == names[int(share[n].argmax())]
        assert row["score_post"] == pytest.approx(known.scores.probability[n, m] * share[n, 1])
    assert result.sentences[-1].endswith("app, post, store: the network's, from channels.parquet")
    counted = Channel()(replace(known, channel_shares=learned)).sentences[-1]
    assert counted.endswith("app, store: counted from the log's last year")
    with pytest.raises(
        ConfigurationError, match="no shares of 2024-03-05 in channels.parquet beside the scores; score"
    ):
        Channel(learned=True)(known)


def test_a_file_that_is_no_table_of_shares_is_refused(known: DecisionContext, tmp_path: Path) -> None:
    who, path = known.scores.customer, tmp_path / "channels.parquet"
    few = ChannelShares(who[1:], ("app", "store"), np.full((who.size - 1, 2), 0.5), "2024-03-05")
    save_shares([few], path)
    with pytest.raises(DataError, match=f"lacks a share of customer {who[0]} at 2024-03-05; score again"):
        load_shares(path, "2024-03-05", who)
    save_shares([few, few], path)
    with pytest.raises(DataError, match="holds a customer and channel twice at 2024-03-05"):
        load_shares(path, "2024-03-05", who)
    few.frame().drop("share").write_parquet(path)
    with pytest.raises(DataError, match="has no column share; a table of channel shares has cutoff, customer_id"):
        load_shares(path, "2024-03-05", who)
    path.write_text("not Parquet")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        load_shares(path, "2024-03-05", who)


def test_a_channel_without_consent_is_not_used(known: DecisionContext) -> None:
    ids = [str(c) for c in known.scores.customer]
    customers = pl.DataFrame({"customer_id": ids, "consent_app": False, "consent_Store": True})
    table = Channel()(replace(known, customers=customers)).table
    assert set(table["best_channel"].drop_nulls()) == {"store"}
    silent = Channel()(replace(known, customers=customers.drop("consent_Store")))
    assert silent.table["best_channel"].is_null().all(), "nobody has said a word about the store"


def test_without_channels_all_go_through_any_and_without_a_log_there_is_no_answer(known: DecisionContext) -> None:
    history = known.history
    assert history is not None
    silent = replace(history.log, channel=np.full_like(history.log.channel, -1))
    result = Channel()(replace(known, history=replace(history, log=silent)))
    assert set(result.table["best_channel"].drop_nulls()) == {"any"}
    assert "no purchase of the last year names a channel" in result.sentences[-1]
    with pytest.raises(ConfigurationError, match="shares of channels need the event log"):
        Channel()(replace(known, history=None))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"count": 0}, "decision.count=0 selects no offer"),
        ({"cost": {"fax": 1.0}}, "decision.cost.fax is no channel of the log; there are app, store"),
        ({"cost": {"app": -1.0}}, "decision.cost.app=-1.0 is below 0"),
        ({"customer_prior": 0.0}, "decision.customer_prior=0.0 must be above 0"),
        ({"offers": ["category 9"]}, "offer 'category 9' is not among the 2 scored"),
    ],
)
def test_a_bad_request_is_one_sentence(known: DecisionContext, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Channel(**settings)(known)
