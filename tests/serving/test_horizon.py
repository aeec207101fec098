"""Several horizons from one run: in order, calibrated on closed windows, blind to the future, and bad input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from propensity.api.model import Bundle, Model
from propensity.config import ScoreConfig
from propensity.data.cutoff import Cutoff
from propensity.data.event_log import EventLog, to_day
from propensity.errors import ConfigurationError
from propensity.serving.horizon import Prediction, fit_horizon, starts
from propensity.serving.new_offers import Market
from propensity.serving.score_offers import model_of_run, score_offers
from propensity.training.checkpoint import load_trained
from serving.exported import Exported


@pytest.fixture(scope="module")
def world(stacked: Exported) -> Exported:
    return stacked


def test_a_longer_horizon_is_never_less_likely_and_the_trained_one_is_as_ever(world: Exported) -> None:
    model = Model(world.run, world.log)
    plain, table = model.score(world.cutoff), model.score(world.cutoff, horizons=[28, 7, 14, 14, 1])
    assert table.columns == ["cutoff", "customer_id", "offer_id", "horizon", "score", "expected_revenue"]
    parts = {days: part for (days,), part in table.group_by("horizon", maintain_order=True)}
    assert list(parts) == [1, 7, 14, 28] and {part.height for part in parts.values()} == {plain.height}
    trained = parts[14].join(plain, on=["customer_id", "offer_id"], suffix="_plain", maintain_order="left")
    np.testing.assert_allclose(trained["score"], trained["score_plain"], atol=1e-6)
    for shorter, longer in ((1, 7), (7, 14), (14, 28)):
        for column in ("score", "expected_revenue"):
            assert (parts[shorter][column] <= parts[longer][column]).all()
    assert parts[1]["score"].mean() < 0.5 * parts[28]["score"].mean()  # type: ignore[operator]


@pytest.mark.parametrize("days", [1, 7, 28])
def test_a_map_expects_what_happened_in_the_windows_that_it_was_fitted_on(world: Exported, days: int) -> None:
    trained = load_trained(world.run)
    log, cutoff = EventLog.open(world.log), Cutoff(to_day(world.cutoff), trained.task.horizon)
    market = Market(model_of_run(world.run, trained), log.before(cutoff.day), cutoff)
    predictions: dict[int, tuple[np.ndarray, Prediction]] = {}
    fitted = fit_horizon(market, days, predictions)
    expected = observed = 0.0
    assert {(cutoff.day - day) % 7 for day in predictions} == {0} and max(predictions) + days <= cutoff.day
    for day, (rows, prediction) in predictions.items():
        expected += fitted.predict(prediction).probability.sum()
        observed += np.asarray(market.features.outcomes(Cutoff(day, days), rows).bought).sum()
    assert abs(expected - observed) < 0.03 * observed + 2, (expected, observed)


def test_nothing_at_or_after_the_cutoff_matters(world: Exported) -> None:
    log, day = EventLog.open(world.log), to_day(world.cutoff)
    later = log.day >= day
    item = np.where(later, np.random.default_rng(1).permutation(log.item), log.item).astype(np.int32)
    shuffled = replace(log, item=item, revenue=np.where(later, log.revenue * 9, log.revenue).astype(np.float32))
    want, got = (Model(world.run).score(world.cutoff, each, horizons=[7, 28]) for each in (log, shuffled))
    assert want.equals(got)


def test_run_and_bundle_agree_and_offers_go_with_horizons(world: Exported, tmp_path: Path) -> None:
    (tmp_path / "offers.yaml").write_text("cheap: price < 4\n")
    for name, place in {"run": world.run, "bundle": world.bundle}.items():
        config = ScoreConfig(cutoff=world.cutoff, log=str(world.log), offers=str(tmp_path / "offers.yaml"))
        setattr(config, name, str(place))
        config.horizons = [7, 14]
        score_offers(config, tmp_path / f"{name}.parquet", lambda text: None)
    run, bundle = (pl.read_parquet(tmp_path / f"{name}.parquet") for name in ("run", "bundle"))
    np.testing.assert_allclose(run["score"], bundle["score"], atol=1e-4)
    assert run["horizon"].unique().sort().to_list() == [7, 14] and run["offer_id"].unique().to_list() == ["cheap"]
    alone = Bundle(world.bundle, world.log).score(world.cutoff, offers={"cheap": "price < 4"})
    np.testing.assert_allclose(bundle.filter(pl.col("horizon") == 14)["score"], alone["score"], atol=1e-5)


def test_a_horizon_without_a_closed_window_is_one_sentence(world: Exported) -> None:
    model = Model(world.run, world.log)
    with pytest.raises(
        ConfigurationError, match=r"horizons=300 cannot be answered at .*: no label window of 300 days has"
    ):
        model.score(world.cutoff, horizons=[7, 300])
    with pytest.raises(ConfigurationError, match=r"horizons=\[\] names no horizon; give days"):
        model.score(world.cutoff, horizons=[])
    with pytest.raises(ConfigurationError, match="horizons=0 is no horizon; give 1 day or more"):
        model.score(world.cutoff, horizons=[0])


def test_windows_of_a_stale_log_are_those_that_closed(world: Exported) -> None:
    trained, log = load_trained(world.run), EventLog.open(world.log)
    cutoff = Cutoff(log.last_day + 45, trained.task.horizon)
    market = Market(model_of_run(world.run, trained), log, cutoff)
    for days in (1, 7, 14):
        assert starts(market, days) and max(starts(market, days)) + days <= log.last_day + 1
        assert {(cutoff.day - day) % 7 for day in starts(market, days)} == {0}


def test_an_answer_without_probability_has_no_revenue() -> None:
    nothing = Prediction(np.zeros((2, 1), np.float32), np.zeros((2, 1), np.float32), np.zeros((2, 1), bool))
    from propensity.serving.horizon import HorizonMap
    from propensity.serving.new_offers import Level

    one = HorizonMap(np.array([[1.0, 1.0], [1.0, 1.0]]), Level(np.zeros(1), np.ones(1))).predict(nothing)
    assert (one.revenue == 0).all() and (one.probability < 1e-5).all()
