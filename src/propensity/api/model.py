"""A trained model in Python, and a bundle: scores, evaluation, export, and arrays for models of other libraries."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from propensity.api.evaluation import Evaluation
from propensity.api.place import log_folder, opened_log
from propensity.data.cutoff import parse_cutoff, scoring_warnings
from propensity.data.event_log import EventLog

if TYPE_CHECKING:
    from propensity.metric.declaration import Metric
    from propensity.serving.new_offers import OfferModel
    from propensity.task import CutoffData, TrainingSet
    from propensity.training.checkpoint import Trained

LOGGER = logging.getLogger("propensity")


class Arrays(NamedTuple):
    """Pairs of customer and offer as rows of a plain table, for a model of one's own.

    Attributes
    ----------
    x : ndarray of shape (K, F), float32
        Features; NaN where a feature is undefined.
    columns : tuple of str, length F
        Names of the features.
    purchase : ndarray of shape (K,), float32
        1 for a purchase of the offer within the horizon; NaN where the label window has not closed.
    revenue : ndarray of shape (K,), float32
        Revenue of it, in the log's currency; NaN likewise.
    weight : ndarray of shape (K,), float32
        Pairs of the population that a row stands for.
    """

    x: np.ndarray
    columns: tuple[str, ...]
    purchase: np.ndarray
    revenue: np.ndarray
    weight: np.ndarray


@dataclass
class Model:
    """A trained run: scores, evaluates and exports.

    Parameters
    ----------
    run
        Folder of the run.
    data
        Event log to score by default, or its folder; None: the run's own.
    """

    run: Path
    data: EventLog | str | Path | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        about = self.trained.about
        return (
            f"Model({str(self.run)!r}: {about['offers']} offers, {self.horizon} days ahead, "
            f"trained on {len(about['cutoffs'])} cutoffs with labels before {about['end']})"
        )

    @cached_property
    def trained(self) -> Trained:
        """The network, its task and vocabulary, and the record of its training."""
        from propensity.training.checkpoint import load_trained

        return load_trained(self.run)

    @cached_property
    def log(self) -> EventLog:
        """The event log that is scored by default."""
        return self.trained.task.open() if self.data is None else opened_log(self.data)

    @property
    def horizon(self) -> int:
        """Days in which a purchase counts."""
        return self.trained.task.horizon

    def score(
        self,
        cutoff: str,
        log: EventLog | str | Path | None = None,
        *,
        offers: Mapping[str, str | Sequence[Any]] | str | Path | None = None,
        horizons: Sequence[int] | None = None,
    ) -> pl.DataFrame:
        """Scores of every customer with a purchase before `cutoff` for every offer listed then.

        Parameters
        ----------
        cutoff
            ISO date of the first day of the horizon, also past the end of the log.
        log
            Another event log than the model's own.
        offers
            Instead of the offers listed then, any others: name -> filter over item columns, or list of item ids; or a
            YAML file of them. The model need not have been trained with them.
        horizons
            Days of several horizons; the table then has a column `horizon`. None: the trained one.

        Returns
        -------
        polars.DataFrame
            cutoff, customer_id, offer_id, score (probability of a purchase within the horizon) and expected_revenue
            (in the log's currency). A stale log or an in-sample cutoff is a UserWarning.
        """
        from propensity.champion.champion import SERVED, Champion
        from propensity.scores import with_consents

        if offers is not None or horizons is not None:
            from propensity.serving.score_offers import model_of_run

            events = self.log if log is None else opened_log(log)
            last = str(self.trained.about["last_label"])
            return score_table(model_of_run(self.run, self.trained), events, cutoff, last, offers, horizons)
        data, last = self.cutoff_data(cutoff, log), str(self.trained.about["last_label"])
        for caution in scoring_warnings(self.log if log is None else opened_log(log), data.market_stats.cutoff, last):
            warnings.warn(caution, UserWarning, stacklevel=2)
        scores = Champion.load(self.run, self.trained.model).predict(data)[SERVED]
        return with_consents(scores, data.features.log, data.row).frame()

    def evaluate(
        self,
        cutoffs: Sequence[str] | None = None,
        *,
        baselines: Sequence[str] | None = None,
        also: Mapping[str, Any] | None = None,
        metrics: Sequence[Metric] = (),
        resamples: int = 200,
        seed: int = 17,
    ) -> Evaluation:
        """Evaluates the network, the baselines and models of your own at cutoffs, on the same customers and offers.

        Parameters
        ----------
        cutoffs
            ISO dates; None: the last label windows after training.
        baselines
            Names of the baselines to fit; None: all, []: none.
        also
            Models of your own: name -> table of scores (frame or Parquet file), object with `predict(cutoff_data)`, or
            scikit-learn classifier; see `propensity.evaluation.predictor.score_model`.
        metrics
            Metrics of your own beside the built-in ones, see `propensity.metric.declaration.Metric`.
        resamples
            Bootstrap resamples of customers; 0 gives no intervals.
        seed
            Seed of the bootstrap and the baselines.

        Returns
        -------
        Evaluation
            Metrics with 95 % intervals; report.html and its tables are written to the run's folder.
        """
        from propensity.command import configuration
        from propensity.evaluation.evaluate import evaluate_run
        from propensity.report.markdown import write_report

        settings = {"run": str(self.run), "resamples": resamples, "seed": seed}
        settings |= {} if cutoffs is None else {"cutoffs": list(cutoffs)}
        settings |= {} if baselines is None else {"baselines": list(baselines)}
        result = evaluate_run(configuration("evaluate", settings), LOGGER.info, also, metrics)
        write_report(result, self.run)
        return Evaluation(result, self.run)

    def export(self, out: str | Path, formats: Sequence[str] = ("onnx",)) -> Bundle:
        """Writes a bundle that scores without the framework that trained it, once it agrees with the checkpoint.

        Parameters
        ----------
        out
            Folder of the bundle.
        formats
            onnx, torch_export.
        """
        from propensity.command import configuration
        from propensity.serving.export import export

        config = configuration("export", {"run": str(self.run), "out": str(out)})
        place = None if self.data is None else str(log_folder(self.data))
        export(self.run, out, list(formats), place, None, config.rows, config.valid_days, LOGGER.info)
        return Bundle(Path(out), self.log)

    def cutoff_data(self, cutoff: str, log: EventLog | str | Path | None = None) -> CutoffData:
        """Customers, offers and features as of a cutoff, as models see them."""
        events = self.log if log is None else opened_log(log)
        date = parse_cutoff(events, cutoff, self.horizon)
        return self.trained.task.cutoff_data(events, date, self.trained.vocabulary)

    def training_set(self) -> TrainingSet:
        """The training cutoffs of the run, with their customers and features."""
        from dataclasses import replace

        return replace(self.trained.task, end=self._end).training_set(self.log)

    def training_arrays(self, rows: int = 1_000_000, cutoffs: int = 8, seed: int = 17) -> Arrays:
        """Features and labels of the last training cutoffs, for a model of your own.

        Parameters
        ----------
        rows
            Pairs to draw, about; every purchase is kept unless they are more than half. The weights make the draw stand
            for all pairs.
        cutoffs
            How many of the last training cutoffs.
        seed
            Seed of the draw.
        """
        from propensity.baseline.pair_table import column_names, training_table

        training_set = self.training_set()
        table = training_table(training_set, cutoffs, rows, seed)
        return Arrays(table.x, tuple(column_names(training_set)), table.bought, table.revenue, table.weight)

    def arrays(self, cutoff: str) -> tuple[Arrays, pl.DataFrame]:
        """Features of all pairs at a cutoff, and the table of their ids.

        Returns
        -------
        Arrays
            One row for each pair, customer by customer; labels are NaN unless the label window has closed.
        polars.DataFrame
            cutoff, customer_id and offer_id of each row; with a column `score` it can be evaluated.
        """
        from propensity.baseline.pair_table import column_names, rows_of

        data = self.cutoff_data(cutoff)
        x = np.concatenate([rows_of(inputs) for _, inputs in data.blocks()])
        offers, customers = data.features.offers.name, data.customer_id
        ids = pl.DataFrame(
            {"customer_id": np.repeat(customers, len(offers)), "offer_id": list(offers) * customers.size}
        ).select(pl.lit(cutoff).str.to_date().alias("cutoff"), "customer_id", "offer_id")
        purchase, revenue = self._outcomes(data)
        weight = np.ones(len(x), np.float32)
        return Arrays(x, tuple(column_names(data)), purchase.ravel(), revenue.ravel(), weight), ids

    def _outcomes(self, data: CutoffData) -> tuple[np.ndarray, np.ndarray]:
        shape = data.row.size, len(data.features.offers)
        if data.market_stats.cutoff.end > self.log.last_day + 1:
            return np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
        from propensity.evaluation.labels import labels

        after = labels(self.log, data)
        return after.bought.astype(np.float32), after.revenue.astype(np.float32)

    @property
    def _end(self) -> str:
        return str(self.trained.about["end"])


@dataclass
class Bundle:
    """An exported network: scores an event log with NumPy and ONNX Runtime.

    Parameters
    ----------
    folder
        Folder of the bundle.
    data
        Event log to score by default, or its folder; None: the one the network was trained on.
    """

    folder: Path
    data: EventLog | str | Path | None = field(default=None, repr=False)

    def score(
        self,
        cutoff: str,
        log: EventLog | str | Path | None = None,
        *,
        offers: Mapping[str, str | Sequence[Any]] | str | Path | None = None,
        horizons: Sequence[int] | None = None,
    ) -> pl.DataFrame:
        """Scores as of `Model.score`."""
        from propensity.serving.batch import BatchConfig, score_bundle

        if offers is not None or horizons is not None:
            from propensity.serving.bundle import open_bundle
            from propensity.serving.score_offers import model_of_bundle

            bundle, chosen = open_bundle(self.folder), log if log is not None else self.data
            opened = bundle.task.open() if chosen is None else opened_log(chosen)
            bundle.cutoff(opened, cutoff)
            return score_table(
                model_of_bundle(bundle), opened, cutoff, str(bundle.manifest["last_label"]), offers, horizons
            )
        events = log if log is not None else self.data
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "scores"
            place = None if events is None else str(log_folder(events))
            score_bundle(self.folder, place, cutoff, out, BatchConfig(None, None, None), LOGGER.info)
            return pl.read_parquet(out / "*.parquet")


def score_table(
    model: OfferModel, events: EventLog, cutoff: str, last: str, offers: Any, horizons: Sequence[int] | None
) -> pl.DataFrame:
    """Scores of offers that a mapping, or a YAML file, names, and of horizons; warnings are UserWarnings."""
    from propensity.serving.offer_definition import read_definitions
    from propensity.serving.score_offers import scored_table, table_of

    def warn(text: str) -> None:
        warnings.warn(text, UserWarning, stacklevel=5)

    definitions = offers if offers is None or isinstance(offers, Mapping) else read_definitions(offers)
    return table_of(scored_table(model, events, cutoff, last, warn, definitions, horizons).scores, horizons)
