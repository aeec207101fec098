"""The schema of every script's configuration, and the decorator that makes a function a script.

Hydra composes conf/<name>.yaml, checks it against the schema of the same name, and hands it to the function. A mistake
of the caller ends in one line on stderr and an exit code (errors.py); a bug keeps its traceback.
"""

from __future__ import annotations

import argparse
import copy
import functools
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import hydra
from hydra import compose
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from propensity.errors import ConfigurationError, PropensityError
from propensity.mistake import one_line, sentence

TABLE_SUFFIXES = {".csv", ".html", ".json", ".parquet"}
Part = dict[str, Any]  # a group of settings: a class as `_target_`, and its arguments
Config = TypeVar("Config")
OPEN = ("optimizer", "scheduler", "trainer", "callbacks", "logger")  # groups of other libraries' classes


@dataclass
class PrepareConfig:
    data: Part = MISSING  # source, offers, dates
    out: str | None = None  # folder of the event log; None: data/<source>
    append: bool = False  # to the log that is at `out`
    check: bool = False  # only say where every row would go
    suggest: str | None = None  # a file or pattern: print a draft of its mapping, and nothing more


@dataclass
class TrainConfig:
    data: Part = MISSING
    model: Part = MISSING
    loss: Part = MISSING
    training: Part = MISSING  # batches, averaging of weights, validation
    optimizer: Part = MISSING  # a torch optimizer and its arguments
    scheduler: Part | None = None  # a torch learning rate scheduler and its arguments; None: a constant rate
    trainer: Part = MISSING  # arguments of Lightning's Trainer
    callbacks: Part = field(default_factory=dict)  # name -> a Lightning callback
    logger: Part = field(default_factory=dict)  # name -> a Lightning logger
    out: str = MISSING  # folder of the run
    seed: int = 17  # every random stream of the run derives from it
    objective: str | None = None  # metric that a job of a sweep returns; None: val/log_loss, or the training loss


@dataclass
class EvaluateConfig:
    run: str = MISSING  # folder that train.py wrote
    cutoffs: list[str] = MISSING  # send dates to judge at
    baseline: Part = MISSING  # the baselines, by name
    baselines: list[str] | None = None  # which of them; None: all
    decay: str | None = "experiments/lift_decay.json"  # a stored lift decay that the page shows if it fits the run
    heuristics: bool = True  # hold the marketer's rule and K-means segments against the network
    also: Any = None  # models of your own: name -> Parquet of scores
    resamples: int = 200  # of customers, for intervals
    seed: int = 17


@dataclass
class BacktestConfig(TrainConfig):
    cutoffs: list[str] | None = None  # one model each, trained on what ends at or before it
    folds: int | None = None  # instead of cutoffs: so many send dates, `step` days apart, up to the end of the log
    step: int = 28
    ages: list[int] = field(default_factory=list)  # weeks by which networks are left to grow old, for the lift decay
    baseline: Part = MISSING  # the baselines, by name
    baselines: list[str] | None = None  # which of them; None: all; []: none
    heuristics: bool = True  # hold the marketer's rule and K-means segments against the network
    resamples: int = 200


@dataclass
class CompareConfig(TrainConfig):
    cutoffs: list[str] = MISSING  # every variant is trained anew for each
    variants: Part = MISSING  # name -> list of overrides
    seeds: list[int] = MISSING  # of the trainings whose answers are averaged
    resamples: int = 200


@dataclass
class ExportConfig:
    run: str = MISSING
    out: str = MISSING  # folder of the bundle
    formats: list[str] = MISSING
    log: str | None = None  # folder of the event log; None: the run's own
    cutoff: str | None = None  # date of the bundled tables; None: the end of training
    rows: int = 10_000  # real customers at a date that the formats must agree on
    valid_days: int = 180  # after the end of training, up to which the bundle scores


@dataclass
class ScoreConfig:
    run: str | None = None  # folder that train.py wrote; or
    bundle: str | None = None  # folder that export.py wrote
    digest: str | None = None  # of the bundle, as export.py printed it; None: whatever the bundle says of itself
    cutoff: str = MISSING  # send date, as 2017-12-04
    out: str | None = None  # None: scores.parquet of a run, the folder scores of a bundle
    log: str | None = None  # folder of the event log; None: the run's own
    top: int | None = None  # only the best so many customers of each offer
    top_per_customer: int | None = None  # only the best so many offers of each customer
    reasons: int | None = None  # how many of what carried each score, beside one of these cuts
    part: int = 16_384  # customers in a file
    threads: int = 2  # blocks computed side by side


@dataclass
class DriftConfig:
    bundle: str = MISSING
    cutoff: str = MISSING
    out: str = "drift.html"
    log: str | None = None  # folder of the event log; None: the run's own
    customers: int = 20_000  # at most, chosen by a hash of the id
    inputs: float = MISSING  # population stability index of a column, above which it has drifted
    share: float = MISSING  # of the columns that may
    scores: float = MISSING  # the same of the scores
    calibration: float = MISSING  # of expected to observed purchases, as a factor either way


@dataclass
class StatesConfig:
    run: str = MISSING
    cutoff: str = MISSING  # send date, as 2017-12-04
    out: str = "states.parquet"


@dataclass
class TuneConfig(TrainConfig):
    trials: int = 20  # in all; a search in `out` goes on where it stopped
    metric: str = "val/log_loss"
    space: Part = MISSING  # key -> range or list of choices


@dataclass
class Trap:
    canary: Any = False  # true: plant a column that knows the future; or where: pair, customer, context, noisy, season
    name: str = "canary"  # what the column is called


@dataclass
class GateConfig:
    run: str = MISSING
    checks: list[str] = MISSING
    evaluate: Trap = field(default_factory=Trap)
    against: str = "frequency"  # the baseline to beat
    metric: str = "revenue_lift"  # by which
    highest_auc: float = 0.98  # of a single column; above it the column is suspect
    seed: int = 17  # of the rewritten future


@dataclass
class ReproduceConfig:
    run: str = MISSING
    tolerance: float = 0.005  # between metrics, where the run was not trained on a CPU; there they are identical


@dataclass
class ForgetConfig:
    customer: str = MISSING
    log: str = MISSING  # folder of the event log
    runs: str = "runs"  # where trained networks and scores are
    pseudonym: str | None = None  # file:<path> or env:<name> of the key, where the log's ids are under one


@dataclass
class ExportCustomerConfig(ForgetConfig):
    out: str = "customer.json"


@dataclass
class DecideConfig:
    decision: Part = MISSING  # which question is asked
    scores: str = MISSING  # Parquet that evaluate.py or score.py wrote
    out: str = MISSING  # folder of the answer
    cutoff: str | None = None  # of several in the file; None: the last
    customers: str | None = None  # attributes and consents; None: customers.parquet beside the scores, if it is there
    contacts: str | None = None  # messages already promised: customer_id, day and, if known, channel
    log: str | None = None  # folder of the event log; None: the one of the run that the scores lie in, if it is there
    seed: int = 17


def snake(name: str) -> str:
    """ExportCustomer -> export_customer"""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def schema_node(schema: type) -> DictConfig:
    """A schema for Hydra's config store: `OPEN` groups accept any argument of their class, all else is closed."""
    node: DictConfig = OmegaConf.structured(schema)
    for name in (each.name for each in fields(schema) if each.name in OPEN):
        node[name] = {}
        node._get_node(name)._set_flag("struct", False)  # type: ignore[union-attr]
    return node


for schema in (
    *(PrepareConfig, TrainConfig, EvaluateConfig, BacktestConfig, CompareConfig, ScoreConfig, TuneConfig),
    *(ExportConfig, DriftConfig, StatesConfig, GateConfig, ReproduceConfig, DecideConfig),
    *(ForgetConfig, ExportCustomerConfig),
):
    name = snake(schema.__name__.removesuffix("Config"))
    ConfigStore.instance().store(name=f"{name}_schema", node=schema_node(schema))


def conf_folder() -> Path:
    """$PROPENSITY_CONF, else the nearest conf/ above this file (an editable install keeps it beside src/)."""
    given = os.environ.get("PROPENSITY_CONF")
    above = (parent / "conf" for parent in Path(__file__).resolve().parents)
    folder = Path(given).resolve() if given else next((path for path in above if path.is_dir()), None)
    if folder is None or not folder.is_dir():
        raise ConfigurationError(
            f"no folder of YAML at {given or 'conf/'}; set PROPENSITY_CONF to the repository's conf/"
        )
    return folder


def typed(cfg: DictConfig) -> Any:
    """The schema object of a composed configuration: resolved, with its groups as plain dicts."""
    return OmegaConf.to_object(cfg)


def training_config(config: TrainConfig) -> TrainConfig:
    """The part of a command's configuration that describes one training."""
    return TrainConfig(**{each.name: copy.deepcopy(getattr(config, each.name)) for each in fields(TrainConfig)})


def composer(name: str, own: Collection[str]) -> Callable[[Sequence[str]], TrainConfig]:
    """A function from further overrides to the training that this command describes with them.

    Parameters
    ----------
    name : primary configuration of the running command.
    own : settings of the command itself, which no single training has.
    """
    overrides = [each for each in HydraConfig.get().overrides.task if _key(each) not in own]
    return lambda more: training_config(typed(compose(name, overrides=[*overrides, *more])))


def _key(override: str) -> str:
    """The first part of the key of an override: `+data.end=...` -> `data`."""
    return override.lstrip("+~").split("=")[0].split(".")[0]


def entry(name: str) -> Callable[[Callable[[Any], None]], Callable[..., None]]:
    """Makes a function of a schema object the script `name`, which reads conf/`name`.yaml and the command line.

    Called with such an object instead, the script is that function and nothing more.
    """

    def decorate(function: Callable[[Any], None]) -> Callable[..., None]:
        @functools.wraps(function)
        def job(cfg: DictConfig) -> None:
            # Hydra reports a failed job in words of its own before it raises: the last word is said here, inside it.
            with mistakes_in_one_line(name):
                function(typed(checked(cfg)))

        @functools.wraps(function)
        def script(config: Any = None) -> None:
            if config is not None:
                return function(config)
            os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us instead of being printed by Hydra
            with mistakes_in_one_line(name):
                refuse_unknown_flags(sys.argv[1:])
                hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=name)(job)()

        return script

    return decorate


@contextmanager
def mistakes_in_one_line(name: str) -> Iterator[None]:
    """Ends the process with one line and an exit code when the caller is at fault; lets bugs through."""
    try:
        yield
    except KeyboardInterrupt:
        leave("interrupted", 130)
    except PropensityError as error:
        leave(str(error), error.exit_code)
    except (HydraException, OmegaConfBaseException) as error:
        if (ours := own_cause(error)) is not None:
            leave(str(ours), ours.exit_code)
        message = sentence(error, conf_folder(), name, sys.argv[1:])
        if message is None:
            raise
        leave(message, ConfigurationError.exit_code)


def leave(message: str, code: int) -> None:
    print(f"propensity: {one_line(message)}", file=sys.stderr)
    raise SystemExit(code) from None


def own_cause(error: BaseException) -> PropensityError | None:
    """The error of ours that Hydra wrapped while it built an object, if there is one."""
    cause = error.__cause__
    while cause is not None and not isinstance(cause, PropensityError):
        cause = cause.__cause__
    return cause


def refuse_unknown_flags(arguments: list[str]) -> None:
    """Settings wear no dashes and stand side by side; Hydra's own words on this fill a screen."""
    parser = get_args_parser()
    parser.exit_on_error = False
    for argument in arguments:
        if argument.startswith("--") and "=" in argument and not argument.startswith("--config-"):
            raise ConfigurationError(f"{argument} is not an option; write {argument.lstrip('-')}")
    try:
        unknown = parser.parse_known_args(arguments)[1]
    except argparse.ArgumentError as error:
        raise ConfigurationError(str(error)) from error
    if unknown and unknown[0].startswith("-"):
        raise ConfigurationError(f"{unknown[0]} is not an option; --help lists them, and settings are key=value")
    if unknown:
        raise ConfigurationError(f"{unknown[0]} stands apart from the other settings; put all key=value side by side")


def checked(cfg: DictConfig) -> DictConfig:
    """The job's own configuration: nothing left open, no part replaced by a word, no output shared with a sibling."""
    running = HydraConfig.get()
    for setting in OverridesParser.create().parse_overrides(list(running.overrides.task)):
        group, value = setting.key_or_group.replace(".", "/"), setting.value()
        if "." in setting.key_or_group and group in running.runtime.choices and isinstance(value, str):
            raise ConfigurationError(
                f"{setting.input_line} would replace a part by a word; did you mean {group}={value}?"
            )
    if missing := sorted(OmegaConf.missing_keys(cfg)):
        raise ConfigurationError(f"{', '.join(missing)} not given; add {' '.join(f'{key}=...' for key in missing)}")
    if running.mode == RunMode.MULTIRUN and isinstance(cfg.get("out"), str) and swept(sys.argv[1:]) != {"out"}:
        cfg.out = numbered(Path(cfg.out), running.job.num)
    return cfg


def swept(arguments: list[str]) -> set[str]:
    """The keys that this command gives several values."""
    settings = OverridesParser.create().parse_overrides([a for a in arguments if "=" in a and not a.startswith("-")])
    return {setting.key_or_group for setting in settings if setting.is_sweep_override()}


def numbered(out: Path, job: int) -> str:
    """Where job number `job` of a sweep writes what one run would write to `out`.

    >>> numbered(Path("runs/seeds"), 3), numbered(Path("scores.parquet"), 3)
    ('runs/seeds/3', 'scores/3.parquet')
    """
    if out.suffix in TABLE_SUFFIXES:
        return (out.with_suffix("") / f"{job}{out.suffix}").as_posix()
    return (out / str(job)).as_posix()
