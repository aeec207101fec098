"""Keys of mappings on the command line may hold any text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from propensity.cli import main
from propensity.command import configuration, quoted
from propensity.mapping_key import decode_keys, encoded_key, readable, with_encoded_keys

SALES = "vevő,dátum,cikk,érték\n1,2024-03-01,tej,2\n2,2024-03-02,vaj,3\n"


@given(st.dictionaries(st.text(min_size=1), st.sampled_from(["a", "b"]), max_size=4))
def test_every_key_is_decoded_in_its_place(mapping: dict[str, str]) -> None:
    cfg = OmegaConf.create({"x": {encoded_key(key): {encoded_key(key): value} for key, value in mapping.items()}})
    OmegaConf.set_struct(cfg, True)
    decode_keys(cfg)
    content: Any = OmegaConf.to_container(cfg)
    assert list(content["x"].items()) == [(key, {key: value}) for key, value in mapping.items()]


def test_what_hydra_reads_is_left_as_it_is() -> None:
    for argument in ("a=1", "a={b: c}", "a={Created at: {d: [x, {e: f}]}}", "a='{b'", "--cfg", "a={'b: c}", "a=ő"):
        assert with_encoded_keys(argument) == argument


@pytest.mark.parametrize(
    ("argument", "key"),
    [
        ("rename={dátum: day}", "dátum"),
        ("rename={'dátum': day}", "dátum"),
        ('rename={"a, b": day}', "a, b"),
        ("rename={x: y, a: {b: c}, '[dátum]': day}", "[dátum]"),
        ("rename={x: 'a: b', kelt ő: day}", "kelt ő"),
    ],
)
def test_a_key_on_the_command_line_may_have_quotes_and_any_letters(argument: str, key: str) -> None:
    text = with_encoded_keys(argument)
    assert text.isascii() and (f", {key}" in readable(text) or f"{{{key}" in readable(text))


def test_words_beyond_ascii_stand_in_quotes_beside_words_in_quotes() -> None:
    assert quoted("a={x: 'b c', y: dátum}") == "a={x: 'b c', y: 'dátum'}"


def test_a_column_of_any_name_is_renamed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sales.csv").write_text(SALES)
    names = {"customer": "vevő", "day": "nap", "item": "cikk", "revenue": "érték"}
    columns = [f"data.source.columns.{name}={column}" for name, column in names.items()]
    command = ["prepare", "data/source=table", f"data.source.events={tmp_path}/sales.csv", *columns, "check=true"]
    main([*command, "data.source.rename={dátum: nap}", f"out={tmp_path}/log"])
    with pytest.raises(SystemExit):
        main([*command, "data.source.kinds={dátum: nap}", f"out={tmp_path}/log"])
    printed = capsys.readouterr()
    assert "2 customers" in printed.out and "'nap'; use one of" in printed.err and "_key_" not in printed.err


def test_python_has_the_same_keys() -> None:
    columns = {f"data.source.columns.{name}": "x" for name in ("customer", "day", "item", "revenue")}
    kinds = {"nézte, 'ő'": "view", "plain": "cart"}
    settings = {"data/source": "table", "data.source.events": "x.csv", "data.source.kinds": kinds, "out": "x"}
    cfg = configuration("prepare", settings | columns)
    assert cfg.data["source"]["kinds"] == kinds
