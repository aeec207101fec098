"""The Python interface: from a frame to an event log, a trained network, scores, an evaluation, a decision, a bundle.

Everything here is also exported by `propensity` itself. Settings that the signatures do not name go into `settings`, by
the names of the command line: `{"model/encoder": "gru", "trainer.max_epochs": 5}`.
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from propensity.data.cutoff import parse_cutoff, scoring_warnings
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from propensity.decision.result import DecisionResult
    from propensity.metric.declaration import Metric
    from propensity.serving.new_offers import OfferModel
    from propensity.task import CutoffData, TrainingSet
    from propensity.training.checkpoint import Trained

Settings = Mapping[str, Any]
LOGGER = logging.getLogger("propensity")
BUNDLE, CHECKPOINT = "manifest.json", "model.ckpt"
SHOWN = ("auc", "average_precision", "revenue_lift", "log_loss")  # metrics in the repr of an evaluation


def prepare(
    events: Any,
    out: str | Path,
    *,
    customer: str,
    day: str,
    item: str | None,
    revenue: str | None,
    item_columns: Sequence[str] = (),
    customer_columns: Sequence[str] = (),
    items: Any = None,
    customers: Any = None,
    columns: Mapping[str, str] | None = None,
    pseudonym: str | None = None,
    keep: int | None = None,
    **settings: Any,
) -> EventLog:
    """Writes the event log of a table of transactions; every row is accounted for in `log.meta`.

    Parameters
    ----------
    events
        Polars or pandas frame, or the path or pattern of CSV or Parquet files; a row is a line of an order.
    out
        Folder of the event log.
    customer, day, item, revenue
        Names of the columns of customer ids, dates, item ids (None: lines name no item) and the line's total (None:
        1 for each unit).
    item_columns, customer_columns
        Columns of `events` that describe items and customers, such as a category.
    items, customers
        Instead: tables with one row for each item or customer, as frames or paths.
    columns
        Further columns: quantity, kind, channel, order, event_id, discount, currency, available_at -> yours.
    pseudonym
        Place of a key, `file:<path>` or `env:<name>`, under which customer ids are stored.
    keep
        Days of the log up to the last purchase; older events leave it and are counted. None: all.
    **settings
        Any other setting of `data/source=table`, such as `timezone` or `kinds`; see docs/data.md.

    Returns
    -------
    EventLog
        Memory-mapped, with the quarantined rows beside it in `out`.

    Raises
    ------
    ConfigurationError
        For a column that does not exist, or a setting that does not fit.
    DataError
        For a table that cannot be used.
    """
    from propensity.ingest.build import prepare as write_log
    from propensity.ingest.privacy import read_key
    from propensity.ingest.retention import check_keep
    from propensity.ingest.source.table import Table

    check_keep(keep)
    mapping: dict[str, str | None] = {"customer": customer, "day": day, "item": item, "revenue": revenue}
    with _files(events=events, items=items, customers=customers) as files:
        given = {"item_columns": list(item_columns), "customer_columns": list(customer_columns), **files, **settings}
        source = Table(columns=mapping | dict(columns or {}), **given)
        return write_log(source, out, None, None if pseudonym is None else read_key(pseudonym), keep)


def fit(
    log: EventLog | str | Path,
    *,
    offer: str | None = None,
    horizon: int = 14,
    end: str | None = None,
    out: str | Path = "runs/train",
    seed: int = 17,
    settings: Settings | None = None,
    plugins: Sequence[str] = (),
) -> Model:
    """Trains a network on an event log; an interrupted training of the same settings continues.

    Parameters
    ----------
    log
        Event log that lies in a folder, or the folder.
    offer
        Item column whose values are the offers; None: the only categorical column of the items.
    horizon
        Days in which a purchase counts.
    end
        ISO date that no training label reaches; what lies after it is left for the evaluation. None: the end of the
        log.
    out
        Folder of the run.
    seed
        Seed of every random stream.
    settings
        Further settings of `propensity train`, such as `{"model/encoder": "gru"}`.
    plugins
        Packages of your own whose parts the settings name.

    Raises
    ------
    ConfigurationError, DataError, GateError
        As `propensity train`.
    """
    from propensity.command import configuration
    from propensity.training.run import train
    from propensity.trust import use_plugins

    use_plugins(plugins)
    given = {"data.log": str(_folder(log)), "data.horizon": horizon, "out": str(out), "seed": seed}
    given |= {} if offer is None else {"data.offer.column": offer}
    given |= {} if end is None else {"data.end": end}
    train(configuration("train", {**given, **(settings or {}), "plugins": list(plugins)}))
    return Model(Path(out))


def load(folder: str | Path, log: EventLog | str | Path | None = None, plugins: Sequence[str] = ()) -> Model | Bundle:
    """Opens the folder of a run or of a bundle.

    Parameters
    ----------
    folder
        What `fit` or `propensity train` wrote, or what `Model.export` or `propensity export` wrote.
    log
        Event log to score by default; None: the one the network was trained on.
    plugins
        Packages of your own whose parts the checkpoint names.

    Raises
    ------
    ConfigurationError
        If the folder is neither.
    IntegrityError
        If it was tampered with, or names code that no plug-in vouches for.
    """
    from propensity.trust import use_plugins

    use_plugins(plugins)
    folder = Path(folder)
    if (folder / CHECKPOINT).is_file():
        return Model(folder, log)
    if (folder / BUNDLE).is_file():
        return Bundle(folder, log)
    raise ConfigurationError(f"{folder} holds neither a run nor a bundle; give a folder that fit or export wrote")


def decide(
    decision: str,
    scores: pl.DataFrame | str | Path,
    *,
    log: EventLog | str | Path | None = None,
    out: str | Path | None = None,
    cutoff: str | None = None,
    attributes: Sequence[str] = (),
    **settings: Any,
) -> DecisionResult:
    """Turns scores into a decision, such as an audience or a campaign plan.

    Parameters
    ----------
    decision
        Name of the decision: audience, campaign, channel, next_best, opportunity, overlap or segment.
    scores
        Table of scores, as a frame or a file.
    log
        Event log, for decisions that look at what customers bought.
    out
        Folder for tables, summary and picture, or the file of a send list (.csv or .parquet); None: nothing is written.
    cutoff
        Which of several cutoffs in the scores; None: the last.
    attributes
        Columns of the customers that a send list holds.
    **settings
        Settings of the decision, such as `size=200`, and those of every decision, such as `objective="discovery"`.

    Returns
    -------
    DecisionResult
        `table` is the decision, `summary` its numbers.
    """
    from propensity.command import configuration
    from propensity.config import DecideConfig
    from propensity.serving.decide import make

    common = {each.name for each in fields(DecideConfig)}
    named = {key if key in common else f"decision.{key}": value for key, value in settings.items()}
    with _files(scores=scores) as files:
        given = {"decision": decision, "scores": files["scores"], "out": str(out or "decision"), "cutoff": cutoff}
        place = None if log is None else str(_folder(log))
        config = configuration("decide", {**given, "log": place, "attributes": list(attributes), **named})
        made = make(config, LOGGER.info)
    if out is not None:
        made.write(out)
    return made.result


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
        return self.trained.task.open() if self.data is None else _opened(self.data)

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

            events = self.log if log is None else _opened(log)
            last = str(self.trained.about["last_label"])
            return _score_table(model_of_run(self.run, self.trained), events, cutoff, last, offers, horizons)
        data, last = self.cutoff_data(cutoff, log), str(self.trained.about["last_label"])
        for caution in scoring_warnings(self.log if log is None else _opened(log), data.market_stats.cutoff, last):
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
        from propensity.report.markdown import write_summary
        from propensity.report.page import write_page

        settings = {"run": str(self.run), "resamples": resamples, "seed": seed}
        settings |= {} if cutoffs is None else {"cutoffs": list(cutoffs)}
        settings |= {} if baselines is None else {"baselines": list(baselines)}
        result = evaluate_run(configuration("evaluate", settings), LOGGER.info, also, metrics)
        write_page(result, f"{self.run}/report.html")
        write_summary(result, f"{self.run}/report.md")
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
        place = None if self.data is None else str(_folder(self.data))
        export(self.run, out, list(formats), place, None, config.rows, config.valid_days, LOGGER.info)
        return Bundle(Path(out), self.log)

    def cutoff_data(self, cutoff: str, log: EventLog | str | Path | None = None) -> CutoffData:
        """Customers, offers and features as of a cutoff, as models see them."""
        events = self.log if log is None else _opened(log)
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
            opened = bundle.task.open() if chosen is None else _opened(chosen)
            bundle.cutoff(opened, cutoff)
            return _score_table(
                model_of_bundle(bundle), opened, cutoff, str(bundle.manifest["last_label"]), offers, horizons
            )
        events = log if log is not None else self.data
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "scores"
            place = None if events is None else str(_folder(events))
            score_bundle(self.folder, place, cutoff, out, BatchConfig(None, None, None), LOGGER.info)
            return pl.read_parquet(out / "*.parquet")


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation measured; its `repr` is the table that the terminal shows.

    Parameters
    ----------
    metrics
        Everything in metrics.json, as plain containers.
    run
        Folder of the run that was evaluated.
    """

    metrics: dict[str, Any] = field(repr=False)
    run: Path

    def __repr__(self) -> str:
        rows = [f"{'model':16}" + "".join(f"{name:>20}" for name in SHOWN)]
        for model, dates in self.metrics["models"].items():
            cells = (dates["mean"]["all"][name]["value"] for name in SHOWN)
            rows.append(f"{model:16}" + "".join(f"{'-' if each is None else f'{each:.4f}':>20}" for each in cells))
        cutoffs = ", ".join(self.metrics["counts"])
        return "\n".join([f"Evaluation of {self.run} at {cutoffs}: {self.verdict or 'no verdict'}", *rows])

    @property
    def verdict(self) -> str | None:
        """win, tie, loss or underpowered: revenue lift against the strongest baseline."""
        verdict: str | None = self.metrics["verdict"]
        return verdict

    @property
    def warnings(self) -> list[str]:
        """What a reader should know before the figures."""
        return list(self.metrics["warnings"])

    def table(self, slices: Sequence[str] | None = None, cutoffs: Sequence[str] = ("mean",)) -> pl.DataFrame:
        """Metrics with their 95 % intervals from a paired bootstrap over customers.

        Parameters
        ----------
        slices
            Slices of customers and pairs; None: all of them.
        cutoffs
            ISO dates, or "mean" for the mean over the cutoffs.

        Returns
        -------
        polars.DataFrame
            model, cutoff, slice, metric, value, low, high.
        """
        return self._rows("models", slices, cutoffs)

    def differences(self, slices: Sequence[str] | None = None, cutoffs: Sequence[str] = ("mean",)) -> pl.DataFrame:
        """Network minus each other model, paired, with the same columns and `verdict`."""
        return self._rows("differences", slices, cutoffs, "verdict")

    def _rows(self, part: str, slices: Sequence[str] | None, cutoffs: Sequence[str], *more: str) -> pl.DataFrame:
        keys = ("value", "low", "high", *more)
        rows = [
            (model, cutoff, name, metric, *(cell.get(key) for key in keys))
            for model, dates in self.metrics[part].items()
            for cutoff in cutoffs
            for name, cells in dates[cutoff].items()
            if slices is None or name in slices
            for metric, cell in cells.items()
        ]
        number = dict.fromkeys(("value", "low", "high"), pl.Float64)
        text = dict.fromkeys(("model", "cutoff", "slice", "metric"), pl.String)
        return pl.DataFrame(rows, schema={**text, **number, **dict.fromkeys(more, pl.String)}, orient="row")

    def save(self, path: str | Path) -> None:
        """Writes everything measured as JSON."""
        Path(path).write_text(json.dumps(self.metrics, indent=1))


@contextmanager
def _files(**tables: Any) -> Iterator[dict[str, Any]]:
    """Paths of tables for code that reads files: a path stays, a frame is written to a temporary Parquet file."""
    from propensity.evaluation.predictor import polars_frame

    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name, table in tables.items():
            if table is None:
                continue
            if isinstance(table, str | Path):
                paths[name] = str(table)
            elif (frame := polars_frame(table)) is not None:
                paths[name] = f"{folder}/{name}.parquet"
                frame.write_parquet(paths[name])
            else:
                raise ConfigurationError(
                    f"{name} is a {type(table).__name__}; give a Polars or pandas frame, or a path"
                )
        yield paths


def _score_table(
    model: OfferModel, events: EventLog, cutoff: str, last: str, offers: Any, horizons: Sequence[int] | None
) -> pl.DataFrame:
    """Scores of offers that a mapping, or a YAML file, names, and of horizons; warnings are UserWarnings."""
    from propensity.serving.offer_definition import read_definitions
    from propensity.serving.score_offers import scored_table, table_of

    def warn(text: str) -> None:
        warnings.warn(text, UserWarning, stacklevel=5)

    definitions = offers if offers is None or isinstance(offers, Mapping) else read_definitions(offers)
    return table_of(scored_table(model, events, cutoff, last, warn, definitions, horizons).scores, horizons)


def _opened(log: EventLog | str | Path) -> EventLog:
    return log if isinstance(log, EventLog) else EventLog.open(log)


def _folder(log: EventLog | str | Path) -> Path:
    """The folder of a log; ConfigurationError for one in memory."""
    if not isinstance(log, EventLog):
        return Path(log)
    if log.folder is None:
        raise ConfigurationError(
            "the event log lies in memory; write it with log.save(folder) and use what that returns"
        )
    return log.folder
