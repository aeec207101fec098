"""What a run leaves for others: weights, vocabulary and configuration in plain containers, read with `weights_only`."""

from __future__ import annotations

import inspect
import pickle
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_object, instantiate
from torch import nn

from propensity.atomic import whole_file
from propensity.data.vocabulary import Vocabulary
from propensity.errors import ConfigurationError, DataError, IntegrityError
from propensity.task import Task

FORMAT = 2
FILE = "model.ckpt"
ALLOWED = ("propensity.", "torch.optim.")
TRAINER = "lightning.pytorch."  # what a training may name besides, where it is made again from its record


@dataclass(frozen=True)
class Trained:
    """A network with everything needed to ask it: the preparation of its inputs, its vocabulary, and `about`, the
    run's configuration (`config`), data fingerprint, first day after the last training label (`end`) and seed."""

    model: nn.Module
    task: Task
    vocabulary: Vocabulary
    about: dict[str, Any]


def save_trained(folder: str | Path, model: nn.Module, vocabulary: Vocabulary, about: dict[str, Any]) -> Path:
    """Writes `folder/model.ckpt`, whole or not at all."""
    path = Path(folder) / FILE
    content = {"format": FORMAT, "state": model.state_dict(), "vocabulary": vocabulary.state(), "about": about}
    with whole_file(path) as draft:
        torch.save(content, draft)
    return path


def load_trained(folder: str | Path) -> Trained:
    """Reads a run folder back; nothing outside `propensity.` and `torch.optim.` is ever called.

    Raises: ConfigurationError if there is no checkpoint, DataError if it is cut short, IntegrityError if it holds
    anything but plain data or names a foreign target.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise ConfigurationError(f"no checkpoint at {path}; train one with scripts/train.py out={folder}")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")  # a foreign file; refused below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise IntegrityError(f"{path} holds more than plain data and was not opened; train again") from None
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(f"{path} cannot be read ({reason}); train again") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"{path} is no checkpoint of format {FORMAT}; train again")
    config = content["about"]["config"]
    refuse_foreign(path, [config["data"], config["model"]])
    task = instantiate(config["data"], _convert_="all")
    vocabulary = Vocabulary.of(content["vocabulary"])
    model = instantiate(config["model"], sizes=task.feature.sizes(vocabulary))
    try:
        model.load_state_dict(content["state"])
    except RuntimeError:
        raise DataError(f"{path} holds weights of another shape of network, by other code; train again") from None
    return Trained(model.eval(), task, vocabulary, content["about"])


def refuse_foreign(path: Path, config: Any, allowed: tuple[str, ...] = ALLOWED) -> None:
    """Raises IntegrityError where nested containers name a `_target_` outside the allowed packages."""
    for target in targets(config):
        if not ours(target, allowed):
            raise IntegrityError(f"{path} asks for {target}, which is not ours to call; train again")


def ours(target: str, allowed: tuple[str, ...] = ALLOWED) -> bool:
    """Whether a target is a class of an allowed package, and not something that a module there only imports."""
    if not target.startswith(allowed):
        return False
    try:
        found = get_object(target)
    except (ImportError, AttributeError, ValueError):
        return False
    return inspect.isclass(found) and found.__module__.startswith(allowed)


def targets(config: Any) -> Iterator[str]:
    """Every `_target_` in nested containers."""
    if isinstance(config, dict):
        for key, value in config.items():
            if key == "_target_":
                yield str(value)
            else:
                yield from targets(value)
    elif isinstance(config, list):
        for value in config:
            yield from targets(value)
