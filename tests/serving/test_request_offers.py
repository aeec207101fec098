"""Requests for offers and horizons that a run was not trained for: the scores of their cutoffs, and bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from propensity.config import ScoreConfig
from propensity.data.event_log import EventLog, to_date, to_day
from propensity.errors import ConfigurationError, DataError
from propensity.serving.request_offers import score_request_offers
from propensity.serving.score import score_from_config, uses_bundle
from propensity.serving.score_offers import score_offers
from serving.exported import Exported

OFFERS = {"cheap": "price < 4", "dear": "price >= 4"}


@pytest.fixture(scope="module")
def folder(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("request_offers")
    (folder / "offers.yaml").write_text(yaml.safe_dump(OFFERS))
    return folder


def days_of(exported: Exported) -> list[str]:
    return [exported.cutoff, to_date(to_day(exported.cutoff) - 7).isoformat()]


def at_cutoffs(exported: Exported, folder: Path, **settings: Any) -> pl.DataFrame:
    """The scores of everybody at both cutoffs, by `cutoff=`."""
    parts = []
    for day in days_of(exported):
        config = ScoreConfig(run=str(exported.run), log=str(exported.log), cutoff=day, **settings)
        score_offers(config, folder / f"{day}.parquet", lambda text: None)
        parts.append(pl.read_parquet(folder / f"{day}.parquet"))
    return pl.concat(parts)


def requested(exported: Exported, folder: Path, table: pl.DataFrame, say: Any = print, **settings: Any) -> pl.DataFrame:
    table.write_parquet(folder / "r.parquet")
    place = {"run": str(exported.run), "log": str(exported.log), "requests": str(folder / "r.parquet")}
    config = ScoreConfig(**(place | settings))
    assert not uses_bundle(config)
    written = score_from_config(config, str(folder / "s.parquet"), say)
    assert written.equals(pl.read_parquet(folder / "s.parquet"))
    return written


def test_requests_have_the_scores_of_their_cutoffs_for_named_offers_and_horizons(
    exported: Exported, folder: Path
) -> None:
    settings = {"offers": str(folder / "offers.yaml"), "horizons": [7, 14]}
    every = at_cutoffs(exported, folder, **settings)
    wanted = every.select("customer_id", "cutoff").unique(maintain_order=True)[::3]
    said = list[str]()
    table = requested(exported, folder, pl.concat([wanted, wanted[:2]]), said.append, **settings)
    assert table.columns == ["cutoff", "customer_id", "offer_id", "horizon", "score", "expected_revenue"]
    keys = ["cutoff", "customer_id", "offer_id", "horizon"]
    both = table.join(every, on=keys, how="inner", suffix="_common")
    assert both.height == table.height == 4 * wanted.height == table.select(keys).n_unique()
    for name in ("score", "expected_revenue"):
        np.testing.assert_allclose(both[name], both[f"{name}_common"], rtol=1e-5, atol=1e-7)
    assert table["cutoff"].is_sorted() and any("2 requests of" in text and "more than once" in text for text in said)
    assert len([text for text in said if "in-sample" in text]) <= 1 and not (folder / "s.not_scored.parquet").exists()
    one = requested(exported, folder, wanted, top_per_customer=1, **settings)
    best = every.join(wanted, on=wanted.columns, how="semi").group_by("cutoff", "customer_id", "horizon")
    both = one.join(best.agg(best=pl.col("score").max()), on=["cutoff", "customer_id", "horizon"])
    assert both.height == one.height == 2 * wanted.height
    np.testing.assert_allclose(both["score"], both["best"], rtol=1e-5)


def test_requests_that_name_trained_or_new_offers_get_those_alone(exported: Exported, folder: Path) -> None:
    day = days_of(exported)[0]
    every = at_cutoffs(exported, folder, horizons=[7, 14]).filter(pl.col("cutoff").cast(pl.String) == day)
    customers, names = (
        every["customer_id"].unique().sort()[:3].to_list(),
        every["offer_id"].unique().sort()[:2].to_list(),
    )
    table = pl.DataFrame({"customer_id": customers, "cutoff": [day] * 3, "offer_id": [names[0], names[1], names[0]]})
    found = requested(exported, folder, table, horizons=[14, 7])
    assert sorted(found.select("customer_id", "offer_id", "horizon").rows()) == sorted(
        (customer, name, days) for customer, name in table.select("customer_id", "offer_id").rows() for days in (7, 14)
    )
    new = requested(exported, folder, table.with_columns(offer_id=pl.lit("dear")), offers=str(folder / "offers.yaml"))
    assert new.columns == ["cutoff", "customer_id", "offer_id", "score", "expected_revenue"]
    assert new["offer_id"].to_list() == ["dear"] * 3 and new["customer_id"].to_list() == customers


def test_requests_of_customers_without_a_purchase_are_listed_with_the_reason(exported: Exported, folder: Path) -> None:
    log, said = EventLog.open(exported.log), list[str]()
    early = log.first_day + 40
    stranger = np.setdiff1d(np.arange(len(log)), log.purchasers(early))[0]
    table = pl.DataFrame({"customer_id": [log.customer_id[stranger]], "cutoff": [to_date(early)]})
    found = requested(exported, folder, table, said.append, offers=str(folder / "offers.yaml"))
    assert found.is_empty() and any(text.startswith("1 request has no score") for text in said)
    assert pl.read_parquet(folder / "s.not_scored.parquet")["customer_id"].to_list() == [log.customer_id[stranger]]


def test_what_requests_cannot_ask_for_is_one_sentence(exported: Exported, folder: Path, tmp_path: Path) -> None:
    log = EventLog.open(exported.log)
    table = pl.DataFrame({"customer_id": [log.customer_id[0]], "cutoff": [exported.cutoff]})
    offers = str(folder / "offers.yaml")
    with pytest.raises(DataError, match="names offer 'other', which is not among the 2 offers"):
        requested(exported, folder, table.with_columns(offer_id=pl.lit("other")), offers=offers)
    with pytest.raises(ConfigurationError, match="horizons=300 cannot be answered at"):
        requested(exported, folder, table, horizons=[300])
    with pytest.raises(ConfigurationError, match="is not after the first purchase of the log"):
        requested(exported, folder, table.with_columns(cutoff=pl.lit("1990-01-01")), horizons=[7])
    refused = {"reasons need a bundle|reasons explain scores at one cutoff": {"reasons": 2}}
    for words, settings in refused.items():
        with pytest.raises(ConfigurationError, match=words):
            requested(exported, folder, table, offers=offers, **settings)
    (tmp_path / "catalogue.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="was trained on a table of requests, and scores its own offers"):
        requested(exported, folder, table, offers=offers, run=str(tmp_path))
    with pytest.raises(ConfigurationError, match="is a folder; give the name of a file"):
        config = ScoreConfig(run=str(exported.run), requests=str(folder / "r.parquet"), offers=offers)
        score_request_offers(config, tmp_path, print)
