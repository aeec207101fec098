"""The settings of a training: those that are ours, and the check of those that are Lightning's and torch's."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from hydra.utils import instantiate

from propensity.config import TrainConfig
from propensity.errors import ConfigurationError, PropensityError
from propensity.mistake import one_line, suggest
from propensity.model.causal import CausalEncoder
from propensity.task import Task, TrainingSet
from propensity.training.base_rate import base_rates
from propensity.training.data_module import PropensityDataModule
from propensity.training.held_out import without_held_out
from propensity.training.length import length_of, negative_rate_of
from propensity.training.loader import default_threads
from propensity.training.metric import LOSSES, TRAIN_LOSS, by_name, mode, validation_metrics
from propensity.training.validation import Validation

GROUPS = ("optimizer", "scheduler", "callbacks", "logger")
FILLED = {  # arguments of Trainer that a run fills in -> where to set what they hold
    "logger": "use the group logger",
    "callbacks": "use the group callbacks",
    "default_root_dir": "use out",
    "use_distributed_sampler": "batches are shared among processes by training's own sampler",
}
PACKAGES = {
    "lightning.pytorch.loggers.WandbLogger": ("wandb",),
    "lightning.pytorch.loggers.MLFlowLogger": ("mlflow", "mlflow_skinny"),
    "lightning.pytorch.loggers.TensorBoardLogger": ("tensorboard", "tensorboardX"),
}


@dataclass
class TrainingConfig:
    """What a training has beside Lightning's `Trainer`, the optimizer and the scheduler.

    Parameters
    ----------
    pairs_per_batch : customer x offer pairs in a batch; None: by the size of the training set, see `length_of`.
    length_bucketing : whether a batch holds histories of similar length, so that an encoder of events reads little
        padding.
    log_on_device : whether the event log is kept on the device, where histories are gathered.
    negative_rate : sampling rate of never-bought negatives in (0, 1], importance-weighted; None: by the share of pairs
        with a purchase, see `negative_rate_of`. Where offers are fine they
        are nearly all pairs, and take nearly all the time.
    averaging : degree of the average of the weights, which is what a run keeps and what is validated; see
        `PolynomialAveraging`. None keeps the last weights.
    compile : whether `torch.compile` is applied to each member.
    threads : torch CPU threads; None uses torch's default. With more than one, threads wait for each other at every
        layer.
    cutoffs_per_batch : training cutoffs at which a batch holds its customers, at most. With more than 1 a causal
        encoder reads each history once for all of them; other encoders are refused.
    prefetch_threads : threads that compute training batches ahead, which are the same for any number; 0: none; None:
        one for each CPU that the training does not use, at most 8.
    validation : number of last label windows, or ISO dates of cutoffs, to validate on; `auto`: one, or as many as hold
        enough purchases; None: no validation. A number is lowered where the log is too short for it.
    validation_pairs : customer x offer pairs per validation cutoff, of customers that the seed samples; None: all.
    held_out : share of the customers, by a hash of their ids, whom the network is not trained on while there is a
        validation, which then has metrics of them alone, `val/held_out/<metric>`. The refit trains on all customers.
    refit : whether the network is trained again on all label windows, those of the validation included, for the number
        of passes that the validation found best. Without, training label windows close by the first validation cutoff.
    """

    pairs_per_batch: int | None = None
    length_bucketing: bool = False
    log_on_device: bool = False
    negative_rate: float | None = None
    averaging: float | None = 8.0
    compile: bool = False
    threads: int | None = 1
    cutoffs_per_batch: int = 1
    prefetch_threads: int | None = None
    validation: int | str | list[str] | None = "auto"
    validation_pairs: int | None = 500_000
    held_out: float = 0.0
    refit: bool = True

    def data_module(
        self, training_set: TrainingSet, task: Task, seed: int, validation: Validation | None = None
    ) -> PropensityDataModule:
        """The training set in batches, and the validation cutoffs in blocks of customers.

        Raises
        ------
        ConfigurationError
            If no customer is left to train on.
        """
        if validation is not None and self.held_out > 0:
            training_set = without_held_out(training_set, self.held_out)
            if not all(each.row.size for each in training_set.cutoffs_data):
                raise ConfigurationError(
                    f"training.held_out={self.held_out} leaves no customer to train on at a cutoff; lower it"
                )
        rates, offers = base_rates(training_set), len(training_set.features.offers)
        given = self.negative_rate
        rate = negative_rate_of(float(rates.purchase.mean())) if given is None else given
        pairs = offers * sum(cutoff_data.row.size for cutoff_data in training_set.cutoffs_data)
        length = length_of(pairs, offers, self.pairs_per_batch, rate if given is None else 1.0)
        data = PropensityDataModule(
            training_set,
            task,
            length.pairs_per_batch,
            seed,
            self.length_bucketing,
            self.log_on_device,
            rate,
            validation,
            self.cutoffs_per_batch,
            default_threads() if self.prefetch_threads is None else self.prefetch_threads,
        )
        if self.cutoffs_per_batch > 1:
            length = length._replace(pass_steps=max(len(data.sampler()), 1))
        data.base_rates, data.length = rates, length
        return data

    def validation_customers(self, offers: int) -> int | None:
        """Customers per validation cutoff that give so many pairs; None: all.

        Raises
        ------
        ConfigurationError
            For a number of pairs below 1.
        """
        if self.validation_pairs is None:
            return None
        if self.validation_pairs < 1:
            raise ConfigurationError(
                f"training.validation_pairs={self.validation_pairs} is no sample; give 1 or more, or null"
            )
        return -(-self.validation_pairs // max(offers, 1))


def check_settings(config: TrainConfig) -> None:
    """Checks the groups of a training before anything is prepared.

    Raises
    ------
    ConfigurationError
        For a GPU that is not there, a class that does not exist, an argument that its class does not take, a logger
        whose package is missing, a monitored metric that is not computed, and batches of several cutoffs with an
        encoder that is not causal.
    """
    if config.trainer.get("accelerator") in ("gpu", "cuda") and not torch.cuda.is_available():
        raise ConfigurationError("training wants a GPU and torch sees none; use trainer=cpu")
    found = dict(parts(config))
    valid = [f"{place}.{name}" for place, part in found.items() for name in arguments(place, part) or ()]
    for place, part in found.items():
        _check_arguments(place, part, [*valid, *(group for group in GROUPS if not place.startswith(group))])
        if not installed(part["_target_"]):
            package = PACKAGES[part["_target_"]][0]
            raise ConfigurationError(f"{place} needs the package {package}; pip install {package}")
    check_optimizer(config.optimizer)
    check_encoder(config)
    metrics = validation_metrics(config.metrics)
    names = list(by_name(metrics, held_out=bool(config.training.get("held_out"))))
    for name, part in (config.callbacks or {}).items():
        if part is not None and (metric := part.get("monitor")) is not None:
            check_metric(f"callbacks.{name}.monitor", metric, config, [*names, *LOSSES])
            if not part.get("mode"):
                mode(f"callbacks.{name}", metric, metrics)
    if config.objective is not None:
        check_metric("objective", config.objective, config, [*names, TRAIN_LOSS])


def check_encoder(config: TrainConfig) -> None:
    """Refuses batches of several cutoffs where the encoder cannot read a history once for all of them."""
    cutoffs, encoder = config.training.get("cutoffs_per_batch", 1), config.model.get("encoder")
    if cutoffs == 1:
        return
    made = None if encoder is None else pkgutil.resolve_name(encoder["_target_"])
    if not (isinstance(made, type) and issubclass(made, CausalEncoder)):
        raise ConfigurationError(
            f"training.cutoffs_per_batch={cutoffs} needs an encoder that reads a history once for many cutoffs; "
            "choose model/encoder=hstu, linear_recurrence or time_filters"
        )


def check_optimizer(settings: Mapping[str, Any]) -> None:
    """Builds the optimizer of one parameter.

    Raises
    ------
    ConfigurationError
        If its class refuses the settings.
    """
    parameter = torch.nn.Parameter(torch.zeros(1))
    try:
        instantiate({**settings, "_partial_": True})([parameter])
    except PropensityError:
        raise
    except Exception as error:
        reason = one_line(error.__cause__ or error)
        raise ConfigurationError(
            f"optimizer={settings['_target_']} refuses its settings ({reason}); correct them"
        ) from None


def installed(target: str) -> bool:
    """Whether one of the packages that a logger needs is there."""
    packages = PACKAGES.get(target, ())
    return not packages or any(find_spec(package) is not None for package in packages)


def parts(config: TrainConfig) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The groups of a training that name a class, by their place in the configuration."""
    for name in ("training", "trainer", "optimizer", "scheduler"):
        if (part := getattr(config, name)) is not None:
            yield name, part
    for group in ("callbacks", "logger"):
        for name, part in (getattr(config, group) or {}).items():
            if part is not None:
                yield f"{group}.{name}", part


def arguments(place: str, part: Mapping[str, Any]) -> list[str] | None:
    """Names of the arguments that a part's class takes; None where it takes any."""
    target = part.get("_target_") if isinstance(part, Mapping) else None
    if target is None:
        raise ConfigurationError(f"{place} names no class; give {place}._target_=package.Class, or another {place}")
    try:
        taken = inspect.signature(pkgutil.resolve_name(target)).parameters
    except (ImportError, AttributeError, ValueError, TypeError):
        raise ConfigurationError(f"{place}._target_={target} does not exist; correct the name") from None
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in taken.values()):
        return None
    return [name for name in taken if place != "trainer" or name not in FILLED]


def _check_arguments(place: str, part: Mapping[str, Any], valid: list[str]) -> None:
    taken = arguments(place, part)
    if taken is None:
        return
    for name in (name for name in part if not name.startswith("_")):
        if place == "trainer" and name in FILLED:
            raise ConfigurationError(f"trainer.{name} is filled in by the run; {FILLED[name]}")
        if name not in taken:
            raise ConfigurationError(
                suggest(f"{place}.{name} is no argument of {part['_target_']}", f"{place}.{name}", valid)
            )


def check_metric(place: str, metric: str, config: TrainConfig, known: Sequence[str]) -> None:
    """Refuses a metric of ours that is not computed; others may come from a callback of one's own."""
    ours = metric.startswith(("val/", "train/")) or place == "objective"
    if ours and metric not in known and not (metric.startswith("train/") and place != "objective"):
        raise ConfigurationError(suggest(f"{place}={metric} is no metric of a training", metric, known))
    if metric.startswith("val/") and not config.training.get("validation"):
        raise ConfigurationError(f"{place}={metric} needs a validation; add training.validation=1")
