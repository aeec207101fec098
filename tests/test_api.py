"""The Python interface: README's lines run as printed, and every object gives what the commands give."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

import propensity as pp
from conftest import QUICK
from propensity.errors import ConfigurationError, DataError
from propensity.metric.declaration import Metric

SMALL_MODEL = dict(yaml.safe_load(each.replace("=", ": ", 1)).popitem() for each in QUICK)
SMALL_MODEL |= {"data.offer.min_buyers": 3, "data.cutoff.count": 4}


def sales(customers: int = 160, days: int = 240, seed: int = 3) -> pl.DataFrame:
    """Lines of a made-up shop, with a few categories and a rhythm for each customer."""
    random = np.random.default_rng(seed)
    rows = []
    for card in range(customers):
        gap, taste = random.uniform(5, 60), random.dirichlet(np.full(4, 0.5))
        for day in np.cumsum(random.exponential(gap, 60) + 1):
            if day >= days:
                break
            category = int(random.choice(4, p=taste))
            sku, total = f"{category}-{random.integers(5)}", round(float(random.lognormal(2, 0.5)), 2)
            rows.append((f"card {card}", date(2024, 1, 1) + timedelta(int(day)), sku, total, "ABCD"[category]))
    columns = ["card", "sold_on", "sku", "total", "category"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def settings() -> dict[str, Any]:
    """A network of a few steps."""
    return dict(SMALL_MODEL)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> pp.Model:
    folder = tmp_path_factory.mktemp("api")
    columns = {"customer": "card", "day": "sold_on", "item": "sku", "revenue": "total"}
    log = pp.prepare(sales(), folder / "log", item_columns=["category"], **columns)  # type: ignore[arg-type]
    return pp.fit(log, horizon=14, end="2024-07-01", out=folder / "run", settings=settings())


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = {"torch", "lightning", "hydra", "polars", "numpy", "numba"}
    program = f"import sys, propensity; print(sorted({heavy!r} & set(sys.modules)), propensity.__version__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.split("]")[0] == "[", done.stderr


def test_every_public_name_can_be_had_and_no_other() -> None:
    assert all(getattr(pp, name) is not None for name in pp.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pp.nothing  # noqa: B018


@pytest.mark.slow
def test_readme_s_lines_run_as_printed(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (repository / "README.md").read_text(), re.S)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"sales": sales(250)}
    exec(compile(code, "README.md", "exec"), names)
    assert set(names["scores"].columns) == {"cutoff", "customer_id", "offer_id", "score", "expected_revenue"}
    assert (tmp_path / "runs/shop/report.html").is_file()


def test_a_pandas_frame_a_polars_frame_and_a_file_make_the_same_log(tmp_path: Path) -> None:
    frame = sales(40)
    frame.write_csv(tmp_path / "sales.csv")
    columns = {"customer": "card", "day": "sold_on", "item": "sku", "revenue": "total"}
    given = (frame, frame.to_pandas(), tmp_path / "sales.csv")
    logs = [
        pp.prepare(each, tmp_path / str(k), item_columns=["category"], **columns)  # type: ignore[arg-type]
        for k, each in enumerate(given)
    ]
    assert len({log.fingerprint for log in logs}) == 1
    assert "40 customers" in repr(logs[0]) and logs[0].folder == tmp_path / "0"


def test_keep_removes_what_is_older_and_counts_it(tmp_path: Path) -> None:
    columns = {"customer": "card", "day": "sold_on", "item": "sku", "revenue": "total"}
    whole = pp.prepare(sales(40), tmp_path / "whole", **columns)  # type: ignore[arg-type]
    kept = pp.prepare(sales(40), tmp_path / "kept", keep=30, **columns)  # type: ignore[arg-type]
    assert kept.last_day == whole.last_day and kept.day.min() > kept.last_day - 30
    assert kept.meta["rows"]["dropped"] == {"event_expired": whole.day.size - kept.day.size}
    with pytest.raises(ConfigurationError, match=r"data\.keep=0 keeps nothing"):
        pp.prepare(sales(40), tmp_path / "none", keep=0, **columns)  # type: ignore[arg-type]


def test_scores_are_those_of_the_command(model: pp.Model, tmp_path: Path) -> None:
    from propensity.serving.score import score

    with pytest.warns(UserWarning, match="in-sample"):
        early = model.score("2024-06-01")
    score(model.run, "2024-06-01", tmp_path / "scores.parquet", None, lambda text: None)
    assert early.equals(pl.read_parquet(tmp_path / "scores.parquet"))
    assert "4 offers, 14 days ahead" in repr(model)


def test_models_of_one_s_own_are_evaluated_by_the_same_call(model: pp.Model) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    class Flat:
        def predict(self, data: Any) -> np.ndarray:
            return np.full((data.row.size, len(data.features.offers)), 0.1)

    class Fitted(Flat):
        def fit(self, training_set: Any, seed: int) -> None:
            self.offers = len(training_set.features.offers)

    scores, fitted = model.score("2024-07-01"), Fitted()
    also = {
        "copy": scores,
        "pandas": scores.to_pandas(),
        "flat": Flat(),
        "fitted": fitted,
        "trees": HistGradientBoostingClassifier(max_iter=5),
    }
    brier = Metric(
        "brier", "Brier score", "lower", "probability", lambda p, bought, w: float(w @ (p - bought) ** 2 / w.sum())
    )
    evaluation = model.evaluate(["2024-07-01"], baselines=["frequency"], also=also, metrics=[brier], resamples=20)
    table = evaluation.table(("all",)).filter(pl.col("metric") == "auc")
    auc = dict(zip(table["model"], table["value"], strict=True))
    assert auc["copy"] == auc["pandas"] == auc["network"] and auc["flat"] == auc["fitted"] == 0.5
    assert fitted.offers == 4 and auc["trees"] != auc["frequency"]
    differences = evaluation.differences(("all",)).filter(pl.col("model") == "copy", pl.col("metric") == "auc")
    assert "brier" in evaluation.table()["metric"]
    assert differences.select("value", "low", "high", "verdict").row(0) == (0.0, 0.0, 0.0, "tie")
    assert repr(evaluation).splitlines()[0].startswith(f"Evaluation of {model.run} at 2024-07-01: ")


@pytest.mark.parametrize(
    ("mine", "error", "sentence"),
    [
        (3, ConfigurationError, "mine is a int; give a table of scores, an object with predict"),
        (pl.DataFrame({"score": [1.0]}), DataError, "mine has no column cutoff"),
        (
            pl.DataFrame({"cutoff": ["soon"], "customer_id": ["x"], "offer_id": ["A"], "score": [1.0]}),
            DataError,
            "dates",
        ),
        (
            pl.DataFrame({"cutoff": ["2024-07-01"], "customer_id": ["x"], "offer_id": ["A"], "score": [1.0]}),
            DataError,
            "mine at 2024-07-01 scores none of the run's pairs",
        ),
    ],
)
def test_what_is_no_model_is_refused_in_a_sentence(
    model: pp.Model, mine: Any, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        model.evaluate(["2024-07-01"], baselines=[], also={"mine": mine}, resamples=0)


def test_predictions_of_another_shape_are_refused(model: pp.Model) -> None:
    class Short:
        def predict(self, data: Any) -> np.ndarray:
            return np.zeros(3)

    with pytest.raises(DataError, match=r"mine gives probabilities of shape \(3,\) at 2024-07-01; give \(\d+, 4\)"):
        model.evaluate(["2024-07-01"], baselines=[], also={"mine": Short()}, resamples=0)


def test_arrays_hold_a_row_for_each_pair_and_labels_where_the_window_has_closed(model: pp.Model) -> None:
    arrays, ids = model.arrays("2024-07-01")
    assert arrays.x.shape == (ids.height, len(arrays.columns)) and set(np.unique(arrays.purchase)) == {0.0, 1.0}
    assert ((arrays.revenue > 0) <= (arrays.purchase > 0)).all()
    assert np.isnan(model.arrays("2024-09-01")[0].purchase).all()
    training = model.training_arrays(rows=500)
    assert training.columns == arrays.columns and training.x.shape[0] == training.purchase.size


def test_a_decision_and_a_bundle_follow_from_scores(model: pp.Model, tmp_path: Path) -> None:
    scores = model.score("2024-07-01")
    audience = pp.decide("audience", scores, log=model.log, out=tmp_path / "audience", size=20)
    assert audience.table.height == 20 and (tmp_path / "audience/summary.json").is_file()
    model.export(tmp_path / "bundle")
    again = pp.load(tmp_path / "bundle", log=model.log).score("2024-07-01")
    ours, theirs = (each.sort("customer_id", "offer_id") for each in (scores, again))
    np.testing.assert_allclose(ours["score"], theirs["score"], atol=1e-5)


def test_a_folder_that_is_neither_a_run_nor_a_bundle_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds neither a run nor a bundle"):
        pp.load(tmp_path)


def test_a_setting_that_does_not_exist_names_the_nearest(model: pp.Model, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="model.widht does not exist; did you mean model.width"):
        pp.fit(model.log, out=tmp_path, settings={"model.widht": 8})


def test_a_log_in_memory_has_to_be_written_first(model: pp.Model, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the event log lies in memory; write it with log.save"):
        pp.fit(model.log.before(model.log.last_day), out=tmp_path)
