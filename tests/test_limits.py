"""Every setting has a type and a range, and no value of any setting ends a command in a traceback."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from propensity import command as commands
from propensity.config import COMMANDS, conf_folder
from propensity.disk import check_writable
from propensity.errors import ConfigurationError, PropensityError
from propensity.limits import COMMANDS_LIMITS, LIBRARIES, LIMITS, PARTS, check_values, undeclared
from propensity.training.settings import check_optimizer

assert commands  # its schemas are needed to compose
VALUES: list[Any] = [
    *(-1, 0, 1, 7, 10**18, -(10**18), 14.5, 0.5, -0.5, 1e308, -1e308, float("nan"), float("inf"), True, False, None),
    *("", " ", "abc", "14", "1e3", "\0", "a\nb", "../x", "Ω" * 5000, "2024-13-45", "mps", "fsdp", "[", "("),
    *([], {}, [None], ["a"], [-1], [1.5], [[]], {"a": 1}, {"a": None}, {"": []}, [float("nan")] * 2),
]


@cache
def composed(name: str, *overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        container = OmegaConf.to_container(compose(name, list(overrides)), resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def options() -> Iterator[tuple[str, str]]:
    """A primary configuration and an override that chooses each option of each group."""
    groups = sorted({path.parent.relative_to(conf_folder()).as_posix() for path in conf_folder().rglob("*/*.yaml")})
    for group in groups:
        if group.split("/")[0] in ("experiment", "hydra", "project", "baseline"):  # options of baseline are parts of it
            continue
        name = {"decision": "decide", "engine": "score"}.get(group, "train")
        yield from ((name, f"{group}={option.stem}") for option in sorted((conf_folder() / group).glob("*.yaml")))


CONFIGURATIONS = [*((name, "") for name in COMMANDS), *options()]


def settings_of(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(node, dict):
        for key, child in node.items():
            if not key.startswith("_"):
                yield (*path, key)
                yield from settings_of(child, (*path, key))


def with_value(settings: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    changed: Any = dict(settings)
    node = changed
    for key in path[:-1]:
        node[key] = dict(node[key])
        node = node[key]
    node[path[-1]] = value
    return dict(changed)


def part_of(settings: dict[str, Any], key: str) -> dict[str, Any]:
    """The settings without the other groups, which are not checked again for every value."""
    return {name: value for name, value in settings.items() if name == key or not isinstance(value, dict)}


def refusal(name: str, settings: dict[str, Any]) -> str | None:
    try:
        check_values(name, settings)
    except ConfigurationError as error:
        return str(error)
    return None


@pytest.mark.parametrize("owner", COMMANDS.values(), ids=lambda owner: owner.__name__)
def test_every_setting_of_a_command_is_declared_and_nothing_else_is(owner: type) -> None:
    assert undeclared(owner) == []
    assert {*COMMANDS_LIMITS[owner.__name__]} == set(owner.__dataclass_fields__)  # type: ignore[attr-defined]


def targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield node["_target_"]
        for child in node.values():
            yield from targets(child)


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield from ([node] if "_target_" in node else [])
        for child in node.values():
            yield from nodes(child)


@pytest.mark.parametrize(("name", "override"), CONFIGURATIONS)
def test_every_setting_in_conf_is_declared(name: str, override: str) -> None:
    for node in nodes(composed(name, *filter(None, [override]))):
        assert {key for key in node if key[0] != "_"} <= {*LIMITS[node["_target_"].rsplit(".", 1)[-1]]}, node[
            "_target_"
        ]


def test_every_part_that_conf_names_is_declared() -> None:
    every = {
        target: None
        for name, override in CONFIGURATIONS
        for target in targets(composed(name, *filter(None, [override])))
    }
    ours = [target for target in every if target.startswith("propensity.")]
    assert {target.rsplit(".", 1)[-1] for target in ours} == {*PARTS}
    assert {target.rsplit(".", 1)[-1] for target in every if target not in ours} <= {*LIBRARIES}


@pytest.mark.parametrize(("name", "override"), CONFIGURATIONS)
def test_every_value_in_conf_is_valid(name: str, override: str) -> None:
    assert refusal(name, composed(name, *filter(None, [override]))) is None


@pytest.mark.parametrize("path", sorted((conf_folder() / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_value_of_an_experiment_is_valid(path: Path) -> None:
    named = (name for name in COMMANDS if f"propensity {name} experiment={path.stem}" in path.read_text())
    name = next(named, "compare")  # what a script in experiments/ takes its settings from
    assert refusal(name, composed(name, f"experiment={path.stem}")) is None


@pytest.mark.parametrize(("name", "override"), CONFIGURATIONS)
def test_a_wrong_value_of_any_setting_is_one_sentence_that_names_it(name: str, override: str) -> None:
    """Every declared setting refuses some of the values, apart from those that may hold anything."""
    settings = composed(name, *filter(None, [override]))
    group = override.split("=")[0].split("/")[0]
    for path in settings_of(settings):
        if path[0] != group if group else name != "train" and len(path) > 1 and path[0] not in ("evaluate", "decision"):
            continue
        refused = [
            text for value in VALUES if (text := refusal(name, with_value(part_of(settings, path[0]), path, value)))
        ]
        for text in refused:
            assert text.count("\n") == 0 and len(text) < 500 and "; give " in text
            assert text.startswith(".".join(path[:1])), text


def filled(node: Any) -> Any:
    """A configuration in which a name stands for every value that only its owner knows."""
    if isinstance(node, dict):
        return {key: filled(child) for key, child in node.items()}
    return "UTC" if node == "???" else node


def build(key: str, part: Any) -> None:
    if key == "optimizer":
        check_optimizer(part)
    elif part is not None:
        instantiate(part, _convert_="all")


NAMES = ("magento", "shopify", "square_pos", "woocommerce", "online_retail", "olist", "ta_feng")
PRESETS = [f"data/source={name}" for name in NAMES]  # settings of `table`


@pytest.mark.slow
@pytest.mark.parametrize(("name", "override"), [each for each in options() if each[1] not in PRESETS])
def test_a_part_with_a_valid_value_is_built_or_refuses_it_in_words(name: str, override: str) -> None:
    """The values that the declared ranges admit are no bug in the constructor of any part."""
    settings = filled(composed(name, *filter(None, [override])))
    built = ("data", "loss", "decision", "optimizer", "baseline", "training")
    own = override.split("=")[0].split("/")[0]
    for path in settings_of(settings):
        if path[0] not in built or (own and path[0] != own) or len(path) < 2:
            continue
        for value in VALUES:
            changed = with_value(part_of(settings, path[0]), path, value)
            if refusal(name, changed) is not None:
                continue
            parts = changed["baseline"] if path[0] == "baseline" else {path[0]: changed[path[0]]}
            for part in parts.values():
                try:
                    build(path[0], copy.deepcopy(part))
                except PropensityError:
                    continue
                except Exception as error:
                    cause = error.__cause__
                    assert isinstance(cause, PropensityError), (path, value, cause or error)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        *(("train", "optimizer.lr", -1), ("train", "training.threads", 0), ("train", "data.horizon", 14.5)),
        *(("train", "seed", -1), ("train", "trainer.precision", 7), ("train", "trainer.strategy", "fsdp")),
        *(("train", "trainer.accelerator", "mps"), ("train", "trainer.devices", 0), ("train", "model.width", 0)),
        *(
            ("train", "data.market_stats.ridge_similar", [1.0]),
            ("train", "data.end", "soon"),
            ("train", "model.dropout", 1),
        ),
        *(
            ("score", "cutoff", "tomorrow"),
            ("score", "threads", 0),
            ("serve", "port", 70_000),
            ("gate", "calibration", [1]),
        ),
        *(("backtest", "step", 0), ("tune", "trials", 0), ("export", "formats", ["pickle"]), ("drift", "share", 2)),
        *(("train", "data.history_mask.shortest", 99), ("evaluate", "resamples", -1), ("explain", "reasons", 0)),
    ],
)
def test_values_that_ended_in_a_traceback_are_refused(name: str, key: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=key.split(".")[-1]):
        check_values(name, with_value(composed(name), tuple(key.split(".")), value))


@pytest.mark.parametrize("out", ["/proc/out", "/dev/null/out", "/proc/1/out/deeper"])
def test_an_out_that_cannot_be_written_is_refused_before_anything_is_read(out: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^out={out} cannot be written \(.*\); give another path$"):
        check_writable(out)


def test_a_check_of_out_leaves_nothing_behind(tmp_path: Path) -> None:
    check_writable(str(tmp_path / "new" / "folder"))
    check_writable(str(tmp_path))
    assert [*tmp_path.iterdir()] == []


def test_limits_are_named_after_one_class_each() -> None:
    assert len(LIMITS) == len(COMMANDS_LIMITS) + len(PARTS) + len(LIBRARIES)
