"""Opens a bundle: verifies the hash of every file, then compares the model with its golden outputs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort
from hydra.utils import instantiate
from onnxruntime.capi import onnxruntime_pybind11_state as state

from propensity.data.cutoff import Cutoff, parse_cutoff
from propensity.data.event_log import EventLog, to_date, to_day
from propensity.data.log_folder import first_line
from propensity.data.offer import active_offers
from propensity.data.vocabulary import Vocabulary
from propensity.errors import ConfigurationError, DataError, IntegrityError
from propensity.feature.features import Features
from propensity.feature.market_stats import MarketStats, MarketStatsBuilder
from propensity.serving import verify
from propensity.serving.pair_scorer import OnnxScorer, PairScorer, fast_scorer
from propensity.serving.point_in_time import PointInTimeFeatures
from propensity.serving.session import session
from propensity.task import Task
from propensity.trust import DATA, check_targets

UNREADABLE: tuple[type[Exception], ...] = (
    *(ValueError, KeyError, TypeError, RecursionError),
    *(state.Fail, state.InvalidProtobuf, state.InvalidGraph, state.InvalidArgument, state.NoSuchFile),
)
CHUNK = 1 << 24  # events that are read at once


@dataclass(frozen=True)
class Bundle:
    """An exported champion with everything that scoring needs.

    Attributes
    ----------
    folder : Path
        Folder of the bundle.
    manifest : dict
        Content of manifest.json.
    digest : str
        SHA-256 of manifest.json.
    task : Task
        Offers, horizon and feature settings.
    vocabulary : Vocabulary
        Items, channels and offers that the network knows.

    Notes
    -----
    Weights, scales, vocabularies and settings are fixed. Market statistics are computed from the log that is scored;
    those of the export are for a service without a log.
    """

    folder: Path
    manifest: dict[str, Any]
    digest: str
    task: Task
    vocabulary: Vocabulary

    def session(self, threads: int = 1) -> ort.InferenceSession:
        """The whole network in ONNX Runtime.

        Parameters
        ----------
        threads : int, default=1
            Threads within one call.

        Returns
        -------
        onnxruntime.InferenceSession
            Of model.onnx.
        """
        return session(self.folder / "model.onnx", threads)

    @property
    def champion(self) -> str:
        """Name of the model whose scores are served."""
        return str(self.manifest["champion"]["name"])

    @property
    def candidates(self) -> tuple[str, ...]:
        """Names of the candidates that its scores combine."""
        return tuple(self.manifest["champion"]["uses"])

    def pair_scorer(self) -> PairScorer:
        """The fastest exported model for blocks of customers.

        Returns
        -------
        callable
            Maps inputs by name to the champion's probability and expected revenue, each (B, M): `fast_scorer` if
            the bundle has its files, else ONNX Runtime.

        Raises
        ------
        IntegrityError
            If it does not reproduce the golden outputs.
        """
        fast = fast_scorer(self.folder)
        scorer: PairScorer = OnnxScorer(self.session()) if fast is None else fast
        inputs, expected = (verify.load_arrays(self.folder / f"golden/{name}.npz") for name in ("inputs", "outputs"))
        for name, output in zip(verify.OUTPUTS, scorer(inputs), strict=False):
            if not (difference := verify.max_difference(output, expected[name])) <= verify.TOLERANCE:
                raise IntegrityError(
                    f"the scorer of {self.folder} differs by {difference:.2g} from golden/outputs.npz; export again"
                )
        return scorer

    def features(self) -> PointInTimeFeatures:
        """Features at the cutoff of the bundled tables.

        Returns
        -------
        PointInTimeFeatures
            For customers given as raw events.
        """
        tables = verify.load_arrays(self.folder / "tables.npz")
        return PointInTimeFeatures(tables, self.manifest["features"], self.vocabulary)

    def cutoff(self, log: EventLog, date: str) -> Cutoff:
        """Validate a cutoff.

        Parameters
        ----------
        log : EventLog
            The log that is scored.
        date : str
            Cutoff, YYYY-MM-DD.

        Returns
        -------
        Cutoff
            Day and horizon.

        Raises
        ------
        ConfigurationError
            If the cutoff is not after the first purchase of the log, or after the bundle's validity.
        """
        cutoff = parse_cutoff(log, date, self.task.horizon)
        self.require_valid(cutoff.day)
        return cutoff

    def require_valid(self, day: int) -> None:
        """Refuse a cutoff after the bundle's validity.

        Parameters
        ----------
        day : int
            Days since 1970-01-01.

        Raises
        ------
        ConfigurationError
            If `day` is after `valid_until`.
        """
        if day > to_day(self.manifest["valid_until"]):
            raise ConfigurationError(
                f"{self.folder} is valid until {self.manifest['valid_until']}, not on {to_date(day)}; train again and "
                "export, or export with a larger valid_days"
            )

    def features_at(self, log: EventLog, cutoff: Cutoff) -> tuple[Features, MarketStats]:
        """Features and market statistics of a log at a cutoff.

        Parameters
        ----------
        log : EventLog
            The log that is scored. It is copied only if it has events at or after the cutoff.
        cutoff : Cutoff
            Day and horizon.

        Returns
        -------
        Features
            Of all customers of the log, with or without a purchase before the cutoff.
        MarketStats
            Computed from the events before the cutoff.
        """
        task = self.task
        past = log if last_event_day(log) < cutoff.day else task.past(log, cutoff.day)
        offers = active_offers(past, task.offer, cutoff)
        builder = MarketStatsBuilder(past, offers, cutoff.horizon, task.market_stats, *task.feature.market_groups)
        return Features(past, offers, self.vocabulary, task.feature), builder.at(cutoff)


def last_event_day(log: EventLog) -> int:
    """Day of the latest event, without loading all days at once.

    Parameters
    ----------
    log : EventLog
        Any log.

    Returns
    -------
    int
        Days since 1970-01-01; 0 for an empty log.
    """
    return max((int(log.day[start : start + CHUNK].max()) for start in range(0, log.day.size, CHUNK)), default=0)


def open_bundle(folder: str | Path, digest: str | None = None) -> Bundle:
    """Open and verify a bundle.

    Parameters
    ----------
    folder : str or Path
        Folder that the export wrote.
    digest : str, optional
        Required digest, as the export printed it.

    Returns
    -------
    Bundle
        The verified bundle.

    Raises
    ------
    ConfigurationError
        If there is no such folder.
    IntegrityError
        If a file was changed, the format or digest differs, or the model does not reproduce the golden outputs.
    DataError
        If the settings in the bundle do not fit this version.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigurationError(f"no bundle at {folder}; make one with propensity export out={folder}")
    try:
        manifest = verify.read_manifest(folder, digest)
        config = json.loads((folder / "task.json").read_text())
        vocabulary = Vocabulary.from_state(json.loads((folder / "vocabulary.json").read_text()))
        verify.verify_outputs(folder, session(folder / "model.onnx"))
    except verify.VerificationError as error:
        raise IntegrityError(str(error)) from None
    except UNREADABLE as error:
        raise IntegrityError(f"the bundle at {folder} cannot be read ({first_line(error)}); export again") from None
    check_targets(config, folder / "task.json", DATA)
    try:
        task = instantiate(config, _convert_="all")
    except TypeError as error:
        raise DataError(f"{folder} has settings of another version ({error}); export again") from None
    return Bundle(folder, manifest, verify.sha256(folder / verify.MANIFEST), task, vocabulary)
