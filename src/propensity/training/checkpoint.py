"""Checkpoints: weights, vocabulary and configuration in plain containers, read with `weights_only`."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from torch import nn

from propensity.checksum import check_folder
from propensity.data.vocabulary import Vocabulary
from propensity.errors import ConfigurationError, DamageError, DataError, IntegrityError
from propensity.task import Task
from propensity.training.storage import check_checkpoint, save_checkpoint
from propensity.trust import DATA, MODEL, check_targets

FORMAT = 2
FILE = "model.ckpt"
CATALOGUE = "catalogue.json"  # of a run on a table of requests
WAY_OUT = "train again"
READ = ("champion.json", "candidates/", "config.yaml")  # what commands read beside it


@dataclass(frozen=True)
class Trained:
    """A network with what its inputs are made from, and the record of its training."""

    model: nn.Module
    task: Task
    vocabulary: Vocabulary
    about: dict[str, Any]  # configuration, data fingerprint, cutoffs, seed, code and libraries: `run.describe`


def save_trained(folder: str | Path, model: nn.Module, vocabulary: Vocabulary, about: dict[str, Any]) -> Path:
    """Writes `folder/model.ckpt` atomically."""
    path = Path(folder) / FILE
    content = {"format": FORMAT, "state": model.state_dict(), "vocabulary": vocabulary.state(), "about": about}
    save_checkpoint(content, path)
    return path


def load_trained(folder: str | Path) -> Trained:
    """Reads the checkpoint of a run folder. Nothing is called that `trust.check_targets` refuses.

    Raises
    ------
    ConfigurationError
        If there is no checkpoint.
    DamageError
        If it, or another file of the run that commands read, is truncated or was changed.
    DataError
        If it is of another format or shape.
    IntegrityError
        If it holds anything but plain data, or names a target that is not trusted.
    """
    path = Path(folder) / FILE
    if not path.is_file() and (Path(folder) / CATALOGUE).is_file():
        raise ConfigurationError(
            f"{folder} was trained on a table of requests; only propensity score and propensity evaluate read such a "
            "run, with requests=...; for any other command train without data.requests"
        )
    if not path.is_file():
        raise ConfigurationError(f"no checkpoint at {path}; train one with propensity train out={folder}")
    check_folder(folder, lambda name: name.startswith(READ), WAY_OUT)
    if zipfile.is_zipfile(path) or path.read_bytes()[:2] == b"PK":
        check_checkpoint(path, WAY_OUT)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")  # a foreign file; refused below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise IntegrityError(f"{path} holds more than plain data and was not opened; train again") from None
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DamageError(f"{path} cannot be read ({reason}); {WAY_OUT}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"{path} is no checkpoint of format {FORMAT}; train again")
    about = content.get("about")
    config = about.get("config") if isinstance(about, dict) else None
    check_targets(config, path)
    if not (isinstance(config, dict) and {"data", "model"} <= config.keys()):
        raise DataError(f"{path} holds no configuration of a run; train again")
    check_targets(config["data"], path, DATA)
    check_targets(config["model"], path, MODEL)
    task = instantiate(config["data"], _convert_="all")
    vocabulary = Vocabulary.from_state(content["vocabulary"])
    model = instantiate(config["model"], sizes=task.feature.sizes(vocabulary))
    try:
        model.load_state_dict(content["state"])
    except RuntimeError:
        raise DataError(f"{path} holds weights of another shape of network, by other code; train again") from None
    check_folder(folder, lambda name: name == FILE, WAY_OUT)  # last: the errors above say more of a foreign file
    return Trained(model.eval(), task, vocabulary, content["about"])
