"""A model of a catalogue: the learners, which of them is served, and its files in the folder of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hydra.utils import instantiate
from scipy.special import expit

from propensity.atomic import whole_file
from propensity.catalogue.column import COLUMNS, TIMED_COLUMNS
from propensity.catalogue.network import PairNetwork
from propensity.catalogue.sample import Sample
from propensity.champion.champion import NETWORK
from propensity.champion.choose import STACK
from propensity.checksum import check_folder
from propensity.data.event_log import EventLog
from propensity.data.offer import Offers, offers_before
from propensity.errors import ConfigurationError, DamageError, DataError
from propensity.task import Task
from propensity.training.checkpoint import CATALOGUE as FILE
from propensity.training.checkpoint import WAY_OUT
from propensity.trust import DATA, check_targets

FORMAT = 1
FOLDER = "catalogue"
LIGHTGBM = "lightgbm"
READ = (FILE, FOLDER + "/", "config.yaml")
LARGEST_LOGIT = 15.0  # probabilities stay above 3e-7


class LogLoss(NamedTuple):
    """How the probabilities of a sample of pairs fit their purchases."""

    log_loss: float
    expected_over_observed: float


def log_loss(logit: np.ndarray, sample: Sample) -> LogLoss:
    """Weighted log loss of log-odds (P,), and the ratio of expected to observed purchases."""
    loss = np.logaddexp(0, logit) - np.where(sample.bought, logit, 0.0)
    total = float(sample.weight[sample.bought].sum())
    expected = float((expit(logit) * sample.weight).sum())
    return LogLoss(float(np.average(loss, weights=sample.weight)), expected / total if total > 0 else np.nan)


@dataclass(frozen=True)
class CatalogueModel:
    """Learners and the served one.

    Parameters
    ----------
    learners : mapping
        `network`, `lightgbm` or both: objects with `logit(x)`.
    served : str
        One of them, or `stack`: the mean of their log-odds.
    amount_factor : float
        Factor of the usual amounts with which buyers of the training requests spend what is expected.
    columns : tuple of str
        `COLUMNS`, or `TIMED_COLUMNS` of a run on requests with times of day.
    level : tuple of float
        Shifts of the log-odds of pairs with a past and without one, see `level_of`.
    """

    learners: Mapping[str, Any]
    served: str
    amount_factor: float
    columns: tuple[str, ...] = COLUMNS
    level: tuple[float, float] = (0.0, 0.0)

    @property
    def hours(self) -> bool:
        """Whether the model reads columns of hours."""
        return self.columns == TIMED_COLUMNS

    def logit(self, x: np.ndarray) -> np.ndarray:
        """Log-odds (P,) of the served model for the columns of pairs (P, F)."""
        past, new = self.level
        shifted = self.learner_logit(x) + np.where(with_past(x), past, new)
        return np.asarray(np.clip(shifted, -LARGEST_LOGIT, LARGEST_LOGIT))

    def learner_logit(self, x: np.ndarray) -> np.ndarray:
        """Log-odds (P,) of the served model before their level is set."""
        names = list(self.learners) if self.served == STACK else [self.served]
        return np.asarray(np.mean([self.learners[name].logit(x) for name in names], axis=0))

    def save(self, folder: Path, about: dict[str, Any]) -> None:
        """Write `catalogue.json` and the learners of a run."""
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        for learner in self.learners.values():
            learner.save(folder / FOLDER)
        content = {
            "format": FORMAT,
            "columns": list(self.columns),
            "learners": list(self.learners),
            "served": self.served,
            "amount_factor": self.amount_factor,
            "level": list(self.level),
            "about": about,
        }
        with whole_file(folder / FILE) as draft:
            draft.write_text(json.dumps(content, indent=1))


def with_past(x: np.ndarray) -> np.ndarray:
    """Whether each pair (P,) has a purchase before its cutoff, by its columns (P, F)."""
    return np.asarray(x[:, COLUMNS.index("pair_baskets")] > 0)


def level_of(logit: np.ndarray, sample: Sample) -> tuple[float, float]:
    """Shifts of log-odds at which as many purchases are expected as were observed.

    Parameters
    ----------
    logit : (P,) float64
        Log-odds of the pairs of a training.
    sample : Sample
        The pairs.

    Returns
    -------
    tuple of float
        Of pairs with a past, and of pairs without one; 0 where all or none of them bought.

    Notes
    -----
    Dropout and the mean of log-odds over the members of an ensemble expect too few purchases: the mean of log-odds has
    a lower probability than the mean of the probabilities, where these are small.
    """
    past = with_past(sample.x)
    return _level(logit, sample, past), _level(logit, sample, ~past)


def _level(logit: np.ndarray, sample: Sample, mask: np.ndarray) -> float:
    """The shift of the pairs of `mask`, by Newton's method within [-1, 1]."""
    weight, bought, own = sample.weight[mask], sample.bought[mask], logit[mask]
    if not bought.any() or bought.all():
        return 0.0
    observed, shift = float(weight[bought].sum()), 0.0
    for _ in range(20):
        probability = expit(own + shift)
        slope = float((weight * probability * (1 - probability)).sum())
        step = ((weight * probability).sum() - observed) / max(slope, 1e-12)
        shift = float(np.clip(shift - step, -1.0, 1.0))
    return shift


class TrainedCatalogue(NamedTuple):
    """A model of a catalogue with the task of its run, and the record of its training."""

    model: CatalogueModel
    task: Task
    about: dict[str, Any]


def is_catalogue(run: str | Path) -> bool:
    """Whether a run was trained on a table of requests."""
    return (Path(run) / FILE).is_file()


def load_catalogue(run: str | Path) -> TrainedCatalogue:
    """Read the model of a run that was trained on requests.

    Parameters
    ----------
    run : str or Path
        Folder of the run.

    Returns
    -------
    TrainedCatalogue
        Model, task and record.

    Raises
    ------
    ConfigurationError
        If the run was not trained on requests.
    DamageError
        If a file is damaged.
    DataError
        If it has another format or other columns.
    IntegrityError
        If the record names a target that is not trusted.
    """
    folder, path = Path(run), Path(run) / FILE
    if not path.is_file():
        raise ConfigurationError(f"no {FILE} in {run}; train it with propensity train data.requests=requests.parquet")
    check_folder(folder, lambda name: name.startswith(READ), WAY_OUT)
    try:
        content = json.loads(path.read_text())
        form, columns, about = content["format"], tuple(content["columns"]), content["about"]
        names, served, factor = list(content["learners"]), content["served"], float(content["amount_factor"])
        past, new = map(float, content.get("level", (0.0, 0.0)))
        config = about["config"]["data"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamageError(f"{path} cannot be read ({error}); {WAY_OUT}") from None
    if form != FORMAT or columns not in (COLUMNS, TIMED_COLUMNS):
        raise DataError(f"{path} was written by another version, with other columns; {WAY_OUT}")
    if served not in (*names, STACK) or not set(names) <= {NETWORK, LIGHTGBM} or not names:
        raise DamageError(f"{path} serves {served!r} of {names}, which cannot be; {WAY_OUT}")
    check_targets(config, path, DATA)
    task = instantiate(config, _convert_="all")
    learners = {name: learner_class(name).load(folder / FOLDER, len(columns)) for name in names}
    return TrainedCatalogue(CatalogueModel(learners, served, factor, columns, (past, new)), task, about)


def learner_class(name: str) -> Any:
    """The class of a learner."""
    if name == NETWORK:
        return PairNetwork
    from propensity.catalogue.trees import PairTrees

    return PairTrees


def catalogue_offers(log: EventLog, task: Task) -> Offers:
    """The offers of all items of a log."""
    return offers_before(log, task.offer, log.last_event_day + 1)
