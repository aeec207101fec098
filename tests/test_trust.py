"""What a stored configuration may name: ours, listed parts of libraries, and plug-ins that are named again."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from propensity import trust
from propensity.errors import ConfigurationError, IntegrityError
from propensity.trust import DATA, VARIABLE, check_targets, use_plugins

PLUGIN = "import os\n\nclass Part: ...\n\ndef make(): ...\n"


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_named", {})
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package of a user's own in the working folder."""
    (tmp_path / "own_parts").mkdir()
    (tmp_path / "own_parts/__init__.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield "own_parts"
    sys.modules.pop("own_parts", None)


ALLOWED = [
    "propensity.data.offer.column.ColumnOffers",
    "torch.optim.AdamW",
    "torch.optim.lr_scheduler.OneCycleLR",
    "lightning.pytorch.Trainer",
    "lightning.pytorch.callbacks.EarlyStopping",
    "lightning.pytorch.loggers.CSVLogger",
]
REFUSED = [
    "os.system",
    "builtins.eval",
    "torch.load",
    "torch.hub.load",
    "lightning.pytorch.cli.LightningCLI",
    "propensity.data.event_log.np.load",
    "propensity.training.run.train",
    "propensity.nowhere.Nothing",
    "propensityx.Part",
    "",
]


@pytest.mark.parametrize("target", ALLOWED)
def test_classes_of_ours_and_of_the_listed_libraries_are_allowed(target: str) -> None:
    check_targets({"_target_": target}, "a file")


@pytest.mark.parametrize("target", REFUSED)
def test_whatever_else_is_refused(target: str) -> None:
    with pytest.raises(IntegrityError, match="a file asks for "):
        check_targets({"_target_": target}, "a file")


def test_a_narrower_list_allows_less() -> None:
    check_targets({"_target_": "propensity.data.offer.column.ColumnOffers"}, "a file", DATA)
    for target in ("propensity.database.Thing", "torch.optim.AdamW", "propensity.errors.DataError"):
        with pytest.raises(IntegrityError, match="a file asks for"):
            check_targets({"_target_": target}, "a file", DATA)


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda part: [part],
        lambda part: (part,),
        lambda part: {"a": ({"b": [part]},)},
        lambda part: OrderedDict(a=part),
        lambda part: {"_target_": "propensity.errors.DataError", "_args_": [part]},
        lambda part: {1: part},
    ],
)
def test_no_container_hides_a_target(wrapped: Any) -> None:
    with pytest.raises(IntegrityError, match="os.system"):
        check_targets(wrapped({"_target_": "os.system"}), "a file")


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "a ${b}", ("${x}",), {"_target_": "${x}"}])
def test_an_interpolation_is_refused(value: Any) -> None:
    with pytest.raises(IntegrityError, match="a file holds the interpolation"):
        check_targets({"a": value}, "a file")


def test_an_object_is_refused() -> None:
    with pytest.raises(IntegrityError, match="a file holds an object of PosixPath"):
        check_targets({"a": [Path("x")]}, "a file")
    with pytest.raises(IntegrityError, match="a target that is no text"):
        check_targets({"_target_": ["os.system"]}, "a file")


def test_a_plugin_is_trusted_once_it_is_named(plugin: str) -> None:
    config = {"a": {"_target_": "own_parts.Part"}, "b": {"_target_": "own_parts.make"}}
    with pytest.raises(IntegrityError, match=r"if you trust the package own_parts, add plugins=\[own_parts\]"):
        check_targets(config, "a file")
    assert "own_parts" not in sys.modules, "what is not named is not even imported"
    assert use_plugins([plugin]) == [plugin]
    check_targets(config, "a file")
    check_targets(config, "a file", DATA)
    with pytest.raises(IntegrityError, match="own_parts.os.system, which is not ours to call"):
        check_targets({"_target_": "own_parts.os.system"}, "a file")


def test_a_plugin_can_be_named_by_the_environment(plugin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"{plugin},")
    assert use_plugins() == [plugin]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere_parts", "no package nowhere_parts in"),
        ("own_parts.nothing", "no package own_parts.nothing in"),
        ("own parts", "which is no package; give its import name"),
        ("subprocess", "subprocess, which is no plug-in"),
        ("torch.hub", "torch.hub, which is no plug-in"),
    ],
)
def test_a_name_that_is_no_plugin_is_said(plugin: str, name: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        use_plugins([name])
