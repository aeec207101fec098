"""Fatigue: the effect of the n-th message is found where arms or draws show it, and refused where they do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.ab.drawn import contacts_of_log, messages_before
from propensity.ab.fatigue import fatigue_of_arms, fatigue_of_contacts, fatigue_table
from propensity.ab.table import Columns, RefusedError, experiment_of
from propensity.ab.window import window
from propensity.cli import main
from propensity.data.event_log import EventLog, to_date
from propensity.errors import DataError
from propensity.ingest.sent import append_contacts
from propensity.kernel.event import MESSAGE
from random_log import random_log

EFFECTS = (1.0, 0.6, 0.2)  # of the first, second and third message


def arms(seed: int, n: int = 12_000, numbers: tuple[int, ...] = (0, 1, 2, 3)) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, len(numbers), n)
    count = np.array(numbers)[arm]
    spend = 5 + np.cumsum([0, *EFFECTS])[np.minimum(count, 3)] + rng.normal(0, 2, n)
    names = pl.Series([f"{numbers[a]} messages" if numbers[a] else "none" for a in arm])
    return pl.DataFrame({"arm": names, "messages": count, "spend": spend})


def of_arms(frame: pl.DataFrame) -> dict[str, Any]:
    experiment = experiment_of(frame, Columns("arm", "none", ["spend", "messages"]))
    return fatigue_of_arms(experiment, experiment.outcomes.pop("messages"))


def test_the_effect_of_each_message_is_inside_its_interval_in_95_of_100_experiments() -> None:
    inside = [
        [cell["low"] <= truth <= cell["high"] for cell, truth in zip(found, EFFECTS, strict=True)]
        for found in (of_arms(arms(seed, 1500))["outcomes"]["spend"]["messages"] for seed in range(120))
    ]
    assert 0.92 < np.mean(inside) < 0.98


def test_a_smaller_effect_of_further_messages_is_fatigue() -> None:
    result = of_arms(arms(0))
    trend = result["outcomes"]["spend"]["trend"]
    assert trend["verdict"] == "fatigue" and trend["low"] < -0.4 < trend["high"]
    assert [cell["n"] for cell in result["outcomes"]["spend"]["messages"]] == pytest.approx([1, 2, 3])
    assert fatigue_table(result).height == 3 and any("spend: fatigue" in each for each in result["sentences"])


def test_arms_that_skip_a_number_give_the_effect_per_message() -> None:
    cells = of_arms(arms(1, numbers=(0, 1, 3)))["outcomes"]["spend"]["messages"]
    assert cells[1]["effect"] == pytest.approx(0.4, abs=0.1) and cells[1]["n"] == 2.5


@pytest.mark.parametrize("numbers", [(0, 2), (0, 1, 1)])
def test_arms_with_the_same_numbers_are_refused(numbers: tuple[int, ...]) -> None:
    frame = arms(2, numbers=numbers).with_columns(
        pl.Series("arm", [["none", "a", "b"][k] for k in range(len(numbers))] * (12_000 // len(numbers)))
    )
    frame = frame.with_columns(
        messages=pl.col("arm").replace_strict(dict(zip(["none", "a", "b"], numbers, strict=False)))
    )
    assert "three arms at least 0.5 messages apart" in of_arms(frame)["refused"]


def contacts(seed: int, customers: int = 6000, days: int = 6) -> tuple[pl.DataFrame, np.ndarray]:
    """Every customer is drawn every two days with one of two probabilities; effects by the messages before."""
    rng = np.random.default_rng(seed)
    chance = rng.choice([0.3, 0.6], (customers, days))
    sent = rng.random((customers, days)) < chance
    before: np.ndarray = np.cumsum(sent, axis=1) - sent
    taste = rng.normal(5, 1, (customers, 1))
    y = (
        taste
        + np.array([1.0, 0.6, 0.2, 0.0, 0.0, 0.0])[before] * sent
        + rng.normal(0, 1, (customers, days))
        - 0.3 * before
    )
    rows = pl.DataFrame(
        {"customer": np.repeat(np.arange(customers), days), "sent": sent.ravel(), "before": before.ravel()}
    )
    return rows.with_columns(probability=pl.Series(np.where(sent, chance, 1 - chance).ravel())), y.ravel()


def test_contacts_that_were_drawn_show_the_effect_of_each_number() -> None:
    rows, y = contacts(0)
    result = fatigue_of_contacts(rows, {"spend": y}, {})
    cells = result["outcomes"]["spend"]["messages"]
    assert [cell["effect"] for cell in cells[:3]] == pytest.approx(EFFECTS, abs=0.12)
    assert result["outcomes"]["spend"]["trend"]["verdict"] == "fatigue" and result["refused"] is None


def test_the_intervals_of_contacts_allow_for_several_of_a_customer() -> None:
    inside = []
    for seed in range(60):
        rows, y = contacts(seed, 1500)
        for cell, truth in zip(
            fatigue_of_contacts(rows, {"y": y}, {})["outcomes"]["y"]["messages"], EFFECTS, strict=False
        ):
            inside.append(cell["low"] <= truth <= cell["high"])
    assert 0.91 < np.mean(inside) < 0.985


def test_what_shows_no_effect_is_refused() -> None:
    rows, y = contacts(1, 2000)
    sent_only = rows.filter("sent")
    assert (
        "nobody who was drawn and not sent"
        in fatigue_of_contacts(sent_only, {"y": y[: sent_only.height]}, {})["refused"]
    )
    certain = rows.with_columns(probability=pl.lit(1.0))
    assert "probability 1: where the log is deterministic" in fatigue_of_contacts(certain, {"y": y}, {})["refused"]
    wrong = rows.with_columns(probability=pl.lit(0.5))
    assert "sample ratio mismatch" in fatigue_of_contacts(wrong, {"y": y}, {})["refused"]
    small = fatigue_of_contacts(rows[:600], {"y": y[:600]}, {})["refused"]
    assert "too few contacts of message" in small and "200 effective customers each" in small
    placebo = {"before": rows["sent"].to_numpy().astype(float)}
    assert "the placebo shows" in fatigue_of_contacts(rows, {"y": y}, placebo)["refused"]


@pytest.mark.parametrize("probability", [None, 0.0, 1.5])
def test_an_impossible_probability_of_a_contact_is_refused(probability: float | None) -> None:
    rows, y = contacts(2, 50)
    with pytest.raises(DataError, match="probability is missing, 0 or above 1"):
        fatigue_of_contacts(rows.with_columns(probability=pl.lit(probability)), {"y": y}, {})


@pytest.mark.parametrize("seed", range(3))
def test_messages_before_match_their_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    customer, day, sent = rng.integers(0, 9, 200), rng.integers(100, 160, 200), rng.random(200) < 0.5
    slow = [
        int((sent & (customer == c) & (day < d) & (day >= d - 14)).sum()) for c, d in zip(customer, day, strict=True)
    ]
    assert messages_before(customer, day, sent, 14).tolist() == slow


def test_a_log_whose_contacts_were_chosen_is_refused() -> None:
    with pytest.raises(RefusedError, match="no contact in the log has a probability") as caught:
        contacts_of_log(random_log(5, customers=60), None, None, [], 28, 14)
    assert caught.value.exit_code == 4


def test_contacts_of_a_log_have_their_outcomes_and_the_messages_before_them(tmp_path: Path) -> None:
    log = random_log(5, customers=200)
    log.save(tmp_path / "log")
    ids, first = log.customers["customer"], log.last_day - 40
    for k, share in enumerate((0.5, 0.3)):
        arm = np.where(np.arange(ids.len()) % (k + 2) == 0, "mail", "holdout")
        table = pl.DataFrame({"customer_id": ids, "arm": arm, "day": [to_date(first + 5 * k)] * ids.len()})
        append_contacts(
            table.with_columns(campaign=pl.lit("a"), experiment=pl.lit("e"), probability=share), tmp_path / "log"
        )
    stored = EventLog.open(tmp_path / "log")
    rows, after, before = contacts_of_log(stored, "e", None, ["revenue"], 6, 14)
    assert rows.height == 400 and rows["sent"].sum() == 100 + 67
    last = rows["probability"].cast(pl.Float32) < 0.4
    for values, start in ((after, first + 5), (before, first - 9)):
        expected = window(log, start, start + 14)["revenue"][rows.filter(last)["customer"].to_numpy()]
        np.testing.assert_allclose(values["revenue"][last.to_numpy()], expected)
    messages = (
        (np.asarray(log.kind) == MESSAGE) & (np.asarray(log.day) >= first - 1) & (np.asarray(log.day) < first + 5)
    )
    earlier = np.bincount(log.owner(np.flatnonzero(messages)), minlength=200) + (np.arange(200) % 2 == 0)
    assert rows.filter(last)["before"].to_list() == earlier[rows.filter(last)["customer"].to_numpy()].tolist()


def test_the_command_reads_contacts_and_arms_from_tables(tmp_path: Path) -> None:
    frame = arms(3, 3000)
    frame.write_parquet(tmp_path / "e.parquet")
    words = [
        f"data={tmp_path / 'e.parquet'}",
        "control=none",
        "outcomes=[spend]",
        "messages=messages",
        f"out={tmp_path / 'out'}",
    ]
    main(["ab", "fatigue", *words])
    result = json.loads((tmp_path / "out/fatigue.json").read_text())
    assert result["method"] == "arms" and len(result["outcomes"]["spend"]["messages"]) == 3
    rows, y = contacts(4, 1500)
    day = pl.date(2024, 1, 1) + pl.duration(days=2 * (pl.int_range(pl.len()) % 6))
    table = rows.with_columns(y=pl.Series(y), day=day, arm=pl.when("sent").then(pl.lit("mail")).otherwise(pl.lit("no")))
    table.write_parquet(tmp_path / "c.parquet")
    words = [f"data={tmp_path / 'c.parquet'}", "control=no", "outcomes=[y]", "customer=customer", "sent=day"]
    main(["ab", "fatigue", *words, "probability=probability", f"out={tmp_path / 'contacts'}"])
    result = json.loads((tmp_path / "contacts/fatigue.json").read_text())
    expected = fatigue_of_contacts(rows, {"y": y}, {})["outcomes"]["y"]["messages"]
    found = result["outcomes"]["y"]["messages"]
    assert [cell["low"] for cell in found] == pytest.approx([cell["low"] for cell in expected])
    table.filter(pl.col("arm") == "mail").write_parquet(tmp_path / "sent.parquet")
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "ab",
                "fatigue",
                f"data={tmp_path / 'sent.parquet'}",
                *words[1:],
                "probability=probability",
                f"out={tmp_path / 'r'}",
            ]
        )
    assert (
        stop.value.code == 4
        and "drawn and not sent" in json.loads((tmp_path / "r/fatigue.json").read_text())["refused"]
    )
