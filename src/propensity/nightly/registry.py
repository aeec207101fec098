"""The registry: which models there are, which of them is live, and which was served on which night.

One JSON file with a checksum, and a copy of it. Whatever is changed by hand is found.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from propensity.atomic import whole_file
from propensity.errors import ConfigurationError, IntegrityError
from propensity.mistake import nearest
from propensity.nightly.signed_file import read_signed, write_signed
from propensity.serving.verify import MANIFEST
from propensity.training.checkpoint import FILE as CHECKPOINT

FILE, COPY = "registry.json", "registry.copy.json"
EMPTY: dict[str, Any] = {"live": None, "models": {}, "history": [], "served": {}}


class Registry:
    """Models of a shop.

    Parameters
    ----------
    state : Path
        Folder of the nightly run.

    Raises
    ------
    IntegrityError
        If the registry was changed by hand, is damaged or was removed.
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        file, second = state / FILE, state / COPY
        self.content: dict[str, Any] = copy.deepcopy(EMPTY)
        if not file.is_file():
            if second.is_file():
                raise IntegrityError(f"{file} was removed; restore it: cp {second} {file}")
            return
        way_out = f"restore it: cp {second} {file}" if _is_whole(second) else "restore it from a backup"
        self.content = {k: v for k, v in read_signed(file, way_out).items() if k != "checksum"}

    def complete(self) -> None:
        """Write the copy that an interrupted write left out."""
        file, second = self.state / FILE, self.state / COPY
        if file.is_file() and (not second.is_file() or second.read_bytes() != file.read_bytes()):
            self._write_copy()

    def _write_copy(self) -> None:
        with whole_file(self.state / COPY) as draft:
            shutil.copyfile(self.state / FILE, draft)

    def _write(self) -> None:
        write_signed(self.state / FILE, self.content)
        self._write_copy()

    @property
    def live(self) -> str | None:
        """Name of the live model; None before the first."""
        return None if self.content["live"] is None else str(self.content["live"])

    @property
    def models(self) -> dict[str, dict[str, Any]]:
        """What is known of each model, by name."""
        models: dict[str, dict[str, Any]] = self.content["models"]
        return models

    @property
    def history(self) -> list[dict[str, Any]]:
        """Promotions and rollbacks, oldest first."""
        history: list[dict[str, Any]] = self.content["history"]
        return history

    @property
    def served(self) -> dict[str, dict[str, Any]]:
        """The model whose scores each night wrote, by night."""
        served: dict[str, dict[str, Any]] = self.content["served"]
        return served

    def folder(self, name: str, kind: str) -> Path:
        """Folder of the run or the bundle of a model."""
        return self.state / str(self.models[name][kind])

    def add(self, name: str, model: Mapping[str, Any]) -> None:
        """Add a model, or what became known of it."""
        if self.models.get(name) != model:
            self.models[name] = dict(model)
            self._write()

    def promote(self, name: str, night: str, why: str, action: str = "promote") -> None:
        """Make a model live.

        Parameters
        ----------
        name : str
            Name of the model.
        night : str
            Date, YYYY-MM-DD.
        why : str
            Reason, for the history.
        action : {"promote", "rollback"}
            What the history calls it.

        Raises
        ------
        ConfigurationError
            If there is no such model.
        IntegrityError
            If its files were removed.
        """
        self.require(name)
        self.history.append({"night": night, "action": action, "model": name, "instead_of": self.live, "why": why})
        self.content["live"] = name
        self._write()

    def rollback(self, night: str, why: str) -> str:
        """Make the model live that was live before; returns its name.

        Raises
        ------
        ConfigurationError
            If no other model was live before.
        IntegrityError
            If its files were removed.
        """
        earlier = self.before()
        if earlier is None:
            live = "no model is live" if self.live is None else f"{self.live} is the first model that is live"
            raise ConfigurationError(f"{live}, so there is none to roll back to; propensity registry list shows all")
        self.promote(earlier, night, why, "rollback")
        return earlier

    def before(self) -> str | None:
        """The model that was live before the live one: a rollback undoes one promotion after the other."""
        stack: list[str] = []
        for each in self.history:
            if each["action"] == "rollback":
                del stack[-1:]
            else:
                stack.append(each["model"])
        return stack[-2] if len(stack) > 1 else None

    def serve(self, night: str, scored: Mapping[str, Any]) -> None:
        """Note which model gave the scores of a night."""
        if self.served.get(night) != scored:
            self.served[night] = dict(scored)
            self._write()

    def require(self, name: str) -> None:
        """Refuse a model that is not there.

        Raises
        ------
        ConfigurationError
            If the registry has no model of the name.
        IntegrityError
            If the files of the model were removed.
        """
        if name not in self.models:
            near = nearest(name, self.models)
            raise ConfigurationError(
                f"there is no model {name!r} in {self.state / FILE}"
                + (f"; did you mean {near}?" if near else "; the first night that trains adds one")
            )
        model = self.models[name]
        for kind, file in (("bundle", MANIFEST), ("run", CHECKPOINT)):
            if model.get(kind) is not None and not (self.state / model[kind] / file).is_file():
                raise IntegrityError(
                    f"{self.state / model[kind]}, the {kind} of the model {name}, was removed or is not whole; restore "
                    "it from a copy, or make another model live: propensity registry rollback"
                )


def _is_whole(file: Path) -> bool:
    """Whether the copy can be used in place of the registry."""
    try:
        read_signed(file, "")
    except IntegrityError:
        return False
    return True
