"""What a stored configuration may name: ours, listed parts of libraries, and plug-ins that are named again."""

from __future__ import annotations

import datetime
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from propensity import trust
from propensity.config import conf_folder
from propensity.errors import ConfigurationError, DataError, IntegrityError
from propensity.trust import DATA, LIBRARIES, VARIABLE, check_targets, declared, read_yaml, use_plugins

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


UNDECLARED = [
    "propensity.data.column_store.ColumnFiles",
    "propensity.ingest.quarantine.Quarantine",
    "propensity.ingest.external_partition.ExternalPartition",
    "propensity.errors.DataError",
    "torch.optim.Optimizer",
    "torch.optim.lr_scheduler.LambdaLR",
    "lightning.pytorch.callbacks.LambdaCallback",
    "lightning.pytorch.plugins.environments.SLURMEnvironment",
]


@pytest.mark.parametrize("target", UNDECLARED)
def test_a_class_of_ours_or_of_a_library_that_nobody_declared_is_refused(target: str) -> None:
    with pytest.raises(IntegrityError, match="which is not ours to call"):
        check_targets({"_target_": target}, "a file")


def test_every_target_of_our_yaml_and_every_listed_class_is_allowed() -> None:
    ours = declared(conf_folder())
    assert len(ours) > 40
    for target in sorted(ours | LIBRARIES):
        if not target.endswith(("WandbLogger", "CometLogger", "MLFlowLogger", "TensorBoardLogger", "LightGBM")):
            check_targets({"_target_": target}, "a file")


def test_our_yaml_declares_no_function_and_no_class_of_another_package() -> None:
    for target in declared(conf_folder()):
        assert target.startswith("propensity.") or target in LIBRARIES, target


class Text(str):
    pass


NOT_PLAIN = [
    (1, 2),
    {1},
    frozenset({1}),
    OrderedDict(a=1),
    Path("x"),
    b"x",
    1j,
    Text("x"),
    np.float64(1.0),
    np.zeros(2),
    torch.zeros(2),
    datetime.date(2024, 1, 1),
    OmegaConf.create({"a": 1}),
    range(3),
    print,
    "${oc.env:HOME}",
    "a ${b}",
    "${oc.create:{_target_:os.system}}",
    "\\${x}",
    {"_target_": ["os.system"]},
    {"_target_": None},
    {"${x}": 1},
    {("a",): 1},
]


@pytest.mark.parametrize("value", NOT_PLAIN, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [v], lambda v: {"a": [{"b": [v]}]}], ids=["0", "1", "4"])
def test_what_is_no_plain_data_is_refused(value: Any, wrap: Any) -> None:
    with pytest.raises(IntegrityError, match="a file (holds|names)"):
        check_targets(wrap(value), "a file")


def test_containers_that_hold_themselves_or_unfold_without_end_are_refused() -> None:
    circle: list[Any] = []
    circle.append({"a": circle})
    doubled: list[Any] = ["x"]
    for _ in range(60):
        doubled = [doubled, doubled]
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    for value in (circle, doubled, deep):
        with pytest.raises(IntegrityError, match="nested too deep or too large"):
            check_targets(value, "a file")


GOOD = {"_target_": "propensity.data.offer.column.ColumnOffers", "column": "category"}
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text("abc_$ {}.", max_size=6).filter(
    lambda text: "${" not in text
))  # fmt: skip
KEYS = st.text("abc_.", min_size=1, max_size=4).filter(lambda key: key != "_target_")
PLAIN = st.recursive(
    st.one_of(SCALARS, st.just(GOOD)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=12,
)
POISON = st.one_of(
    st.sampled_from([value for value in NOT_PLAIN if not isinstance(value, np.ndarray | torch.Tensor)]),
    st.sampled_from([*REFUSED, *UNDECLARED, "shutil.copyfile", "pathlib.Path.write_text", "joblib.load"]).map(
        lambda target: {"_target_": target}
    ),
)


@st.composite
def poisoned(draw: st.DrawFn) -> Any:
    """Plain containers, with a poison somewhere inside."""
    value = draw(POISON)
    for _ in range(draw(st.integers(0, 5))):
        beside = draw(st.lists(PLAIN, max_size=2))
        place = draw(st.integers(0, len(beside)))
        if draw(st.booleans()):
            value = [*beside[:place], value, *beside[place:]]
        else:
            value = {f"k{k}": each for k, each in enumerate([*beside[:place], value, *beside[place:]])}
            if draw(st.booleans()):
                value = {"_target_": GOOD["_target_"]} | value
        if draw(st.integers(0, 4)) == 0:
            value = draw(st.sampled_from([tuple, list]))([value])
    return value


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(poisoned())
def test_no_nesting_hides_a_poison(config: Any) -> None:
    with pytest.raises(IntegrityError):
        check_targets(config, "a file")


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(PLAIN)
def test_plain_data_with_declared_targets_are_accepted(config: Any) -> None:
    check_targets(config, "a file")


def test_yaml_is_read_as_data(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("end: 2024-01-05\nlr: 1e-3\nmin: 1.0e-05\nwords: [a, null, true, 7]\n")
    assert read_yaml(file) == {"end": "2024-01-05", "lr": 0.001, "min": 1e-05, "words": ["a", None, True, 7]}


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{k}: &a{k} [{','.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 12)
)


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system [true]\n",
        "a: !!python/tuple [1, 2]\n",
        "a: !!python/name:os.system\n",
        "a: !!set {b}\n",
        "a: !!binary aGk=\n",
        "a: !!timestamp 2024-01-01\n",
        "a: ${oc.env:HOME}\n",
        "a: ${oc.create:{_target_:os.system}}\n",
        "a: &b [*b]\n",
        BOMB,
    ],
)
def test_yaml_that_is_more_than_data_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(IntegrityError, match="config.yaml"):
        read_yaml(tmp_path / "config.yaml")


@pytest.mark.parametrize("text", ["a: [", "\x00", "a: b: c", "[" * 5000])
def test_what_is_no_yaml_is_a_data_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(DataError, match="config.yaml cannot be read as YAML"):
        read_yaml(tmp_path / "config.yaml")


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
