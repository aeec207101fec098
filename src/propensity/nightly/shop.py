"""The settings of a nightly run, as `shop.yaml` holds them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from propensity.conf_file import yaml_sentence
from propensity.errors import ConfigurationError
from propensity.limit import Limit, anything, choice, flag, many, mapping, maybe, path, text, whole
from propensity.mistake import suggest
from propensity.secret import refuse_secrets

DATE = "{date}"
SETTINGS = mapping(anything())
FIELDS: dict[str, Any] = {
    "state": path(),
    "deliveries": {"files": path(), "date_format": text(), "empty": choice("hold", "accept")},
    "data": SETTINGS,
    "train": SETTINGS,
    "retrain": {"age": maybe(whole(0, 36_500)), "drift": flag(), "start": choice("scratch", "warm")},
    "promote": {"when": choice("not_worse", "win", "never"), "metrics": many(text(), least=1), "resamples": whole(2)},
    "bundle": flag(),
    "export": SETTINGS,
    "drift": SETTINGS,
    "score": SETTINGS,
    "decisions": mapping(SETTINGS),
    "plugins": many(text()),
}
FILLED = {  # settings of the commands that the nightly run fills in, by section of `shop.yaml`
    "data": ("out", "append", "check", "suggest", "data.source.events"),
    "train": ("out", "data.log", "data.end", "warm"),
    "export": ("run", "out", "log", "formats"),
    "drift": ("bundle", "cutoff", "out", "log"),
    "score": ("run", "bundle", "digest", "cutoff", "requests", "out", "log", "offers", "horizons", "top"),
    "decisions": ("scores", "out", "cutoff"),
}


@dataclass(frozen=True)
class Deliveries:
    """Which files are delivered.

    Parameters
    ----------
    files : str
        Path with wildcards; `{date}` stands for the date in a name.
    date_format : str
        How `{date}` is written, in the codes of `datetime.strftime`.
    empty : {"hold", "accept"}
        Whether a delivery without rows is held back as a mistake, or accepted, as on a day on which a shop is closed.
    """

    files: str
    date_format: str = "%Y-%m-%d"
    empty: str = "hold"


@dataclass(frozen=True)
class Retrain:
    """When a new model is trained.

    Parameters
    ----------
    age : int or None
        Days after the last training; None: never because of age.
    drift : bool
        Whether an alarm of `propensity drift` is a reason.
    start : {"scratch", "warm"}
        Random weights, or those of the live model.
    """

    age: int | None = 28
    drift: bool = True
    start: str = "scratch"


@dataclass(frozen=True)
class Promote:
    """When a challenger becomes the live model.

    Parameters
    ----------
    when : {"not_worse", "win", "never"}
        It is significantly worse in no metric; it is also better in one; or only `propensity registry promote`.
    metrics : tuple of str
        Metrics that are compared.
    resamples : int
        Bootstrap resamples of customers.
    """

    when: str = "not_worse"
    metrics: tuple[str, ...] = ("log_loss", "normalised_revenue_capture")
    resamples: int = 200


@dataclass(frozen=True)
class Shop:
    """The settings of a nightly run.

    Parameters
    ----------
    state : Path
        Folder of the log, the models, the registry and the nights.
    deliveries, retrain, promote
        See their classes.
    data, train, export, drift, score : mapping
        Settings of the commands `prepare`, `train`, `export`, `drift` and `score`, as on their command lines.
    decisions : mapping
        Settings of `decide` by the name of each decision.
    bundle : bool
        Whether a model is exported, and its bundle scores; else the run scores.
    plugins : tuple of str
        Packages of parts of one's own.
    """

    state: Path
    deliveries: Deliveries
    data: dict[str, Any]
    train: dict[str, Any]
    retrain: Retrain
    promote: Promote
    bundle: bool
    export: dict[str, Any]
    drift: dict[str, Any]
    score: dict[str, Any]
    decisions: dict[str, dict[str, Any]]
    plugins: tuple[str, ...]


def read_shop(file: str | Path) -> Shop:
    """Read the settings of a nightly run.

    Parameters
    ----------
    file : str or Path
        YAML file. Relative paths in it start at its folder.

    Returns
    -------
    Shop
        With defaults for what is left out.

    Raises
    ------
    ConfigurationError
        If the file is not there or not YAML, or for a setting that does not exist, or a value that does not fit.
    """
    file = Path(file)
    if not file.is_file():
        raise ConfigurationError(f"no settings of a nightly run at {file}; propensity init <folder> writes an example")
    try:
        with file.open(encoding="utf-8") as stream:
            content = yaml.safe_load(stream)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(yaml_sentence(error, file.parent) or f"{file} is not YAML in UTF-8") from None
    if not isinstance(content, Mapping):
        raise ConfigurationError(f"{file} holds no settings; begin with deliveries: and data:")
    refuse_secrets(content)
    return shop_of(content, file.resolve().parent, str(file))


def shop_of(content: Mapping[str, Any], folder: Path, name: str) -> Shop:
    """The settings in a mapping; relative paths start at `folder`, and `name` is that of the file, for messages."""
    _check(content, FIELDS, "", name)
    deliveries = content.get("deliveries", {})
    if "files" not in deliveries:
        raise ConfigurationError(
            f"{name}: deliveries.files is not given; add a path such as deliveries/sales-{DATE}.csv"
        )
    sections = {section: dict(content.get(section, {})) for section in FILLED}
    _check_filled(sections, name)
    promote = Promote(**content.get("promote", {}))
    return Shop(
        state=folder / content.get("state", "nightly"),
        deliveries=Deliveries(**deliveries),
        retrain=Retrain(**content.get("retrain", {})),
        promote=replace(promote, metrics=tuple(promote.metrics)),
        bundle=content.get("bundle", True),
        plugins=tuple(content.get("plugins", ())),
        **sections,
    )


def _check(content: Mapping[str, Any], fields: Mapping[str, Any], place: str, name: str) -> None:
    """Refuse settings that do not exist, and values that do not fit."""
    for key, value in content.items():
        whole_key = f"{place}{key}"
        if key not in fields:
            valid = [f"{place}{each}" for each in fields]
            raise ConfigurationError(suggest(f"{name}: {whole_key} does not exist", whole_key, valid))
        field = fields[key]
        if isinstance(field, Limit):
            if field.problem(value) is not None:
                raise ConfigurationError(f"{name}: {whole_key}={value!r} does not fit; give {field.words}")
        elif not isinstance(value, Mapping):
            raise ConfigurationError(f"{name}: {whole_key}={value!r} does not fit; give settings, one in each line")
        else:
            _check(value, field, f"{whole_key}.", name)


def _check_filled(given: Mapping[str, Any], name: str) -> None:
    """Refuse settings that the nightly run fills in, and names of decisions that make no name of a file."""
    for section, filled in FILLED.items():
        groups = given[section].items() if section == "decisions" else [("", given[section])]
        for title, settings in groups:
            for key in settings:
                if key in filled:
                    where = f"{section}.{title}.{key}" if title else f"{section}.{key}"
                    raise ConfigurationError(f"{name}: {where} is filled in by the nightly run; leave it out")
    for title, settings in given["decisions"].items():
        if not isinstance(title, str) or not re.fullmatch(r"[\w-]+", title):
            raise ConfigurationError(
                f"{name}: decisions.{title} names a file; use letters, digits, - and _ in the name of a decision"
            )
        if settings.get("list") not in (None, "csv", "parquet"):
            raise ConfigurationError(f"{name}: decisions.{title}.list={settings['list']!r}; give csv, parquet or null")
        if "decision" not in settings:
            raise ConfigurationError(f"{name}: decisions.{title}.decision is not given; add one such as audience")
