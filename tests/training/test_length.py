"""The length of a training: one rule for markets of all sizes, patience that grows with the length, and warnings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from propensity.training.fit import open_ended, steps_at_most, trainer_limits
from propensity.training.length import (
    CUSTOMERS,
    FEWEST,
    LARGEST,
    MOST,
    PASSES,
    SMALLEST,
    STEPS,
    UNVALIDATED,
    WARMUP,
    EndAtStep,
    EndByValidation,
    Length,
    length_of,
    length_warnings,
)

CUTOFFS = 20
MARKETS = {"small": (500, 3), "demo": (2_450, 225), "large": (1_000_000, 225), "one offer": (20_000, 1)}


@pytest.mark.parametrize("market", MARKETS)
def test_the_sizes_of_a_training_stay_in_their_limits(market: str) -> None:
    customers, offers = MARKETS[market]
    pairs = CUTOFFS * customers * offers
    length = length_of(pairs, offers)
    assert min(SMALLEST, CUSTOMERS * offers) <= length.pairs_per_batch <= LARGEST and length.pairs == pairs
    assert length.pass_steps * length.pairs_per_batch >= pairs, "a pass sees every pair"
    assert length.max_steps == max(STEPS, int(PASSES * length.pass_steps))
    assert FEWEST <= length.interval <= MOST


def test_the_rule_gives_these_sizes() -> None:
    found = {market: length_of(CUTOFFS * size * offers, offers)[1:] for market, (size, offers) in MARKETS.items()}
    assert found["small"] == (3_072, 10, 2_000, 50)
    assert found["demo"] == (10_766, 1_043, 4_172, 104)
    assert found["large"] == (32_768, 137_932, 551_728, 250)


def test_a_larger_market_has_no_smaller_batch_and_no_shorter_training() -> None:
    lengths = [length_of(10**k, 30) for k in range(2, 11)]
    for less, more in zip(lengths, lengths[1:], strict=False):
        assert less.pairs_per_batch <= more.pairs_per_batch
        assert less.max_steps <= more.max_steps and less.interval <= more.interval


def test_a_batch_that_the_user_set_is_kept_and_holds_whole_customers() -> None:
    assert length_of(10_000, 10, pairs_per_batch=25).pass_steps == 500  # of 2 customers each
    assert length_of(10_000, 10, pairs_per_batch=3).pass_steps == 1_000  # of 1
    assert length_of(10_000, 10, pairs_per_batch=999_999).pass_steps == 1


def test_passes_are_steps_over_those_of_a_pass() -> None:
    assert length_of(10_000, 10, pairs_per_batch=1_000).passes(25) == 2.5


def trial(*values: float, interval: int = 10) -> tuple[EndByValidation, list[int]]:
    """The callback after validations with such values, and the steps at which it wanted to stop."""
    callback, stopped = EndByValidation("val/x"), []
    for number, value in enumerate(values, 1):
        trainer: Any = SimpleNamespace(
            sanity_checking=False, callback_metrics={"val/x": value}, global_step=number * interval, should_stop=False
        )
        callback.on_validation_end(trainer, None)  # type: ignore[arg-type]
        stopped += [trainer.global_step] if trainer.should_stop else []
    return callback, stopped


def test_six_validations_without_improvement_end_a_short_training() -> None:
    callback, stopped = trial(3.0, 2.0, 2.5, 2.0, 2.1, 2.0, 2.2, 2.0)
    assert stopped == [80] and callback.ended and callback.best_step == 20


def test_an_improvement_restarts_the_patience() -> None:
    callback, stopped = trial(3.0, 3.1, 3.1, 2.9, 3.0, 3.0)
    assert not stopped and not callback.ended and callback.best_step == 40


def test_a_long_training_is_given_half_of_its_best_step_more() -> None:
    falling = [1.0 - 0.01 * k for k in range(20)]
    _, stopped = trial(*falling, *[2.0] * 10)
    assert stopped[0] == 300, "best after 200 steps"


def test_improvements_within_the_noise_do_not_prolong_training_but_count_as_best() -> None:
    callback, stopped = trial(1.0, *[1.0 - 4e-5 * k for k in range(1, 7)])
    assert stopped == [70] and callback.best_step == 70


def test_a_value_that_is_no_number_is_no_improvement() -> None:
    callback, stopped = trial(3.0, *[float("nan")] * 6)
    assert stopped == [70] and callback.best_step == 10


def test_a_resumed_training_knows_its_best_step_and_whether_it_ended() -> None:
    callback, _ = trial(3.0, 2.0, *[2.5] * 6)
    resumed = EndByValidation("val/x")
    resumed.load_state_dict(callback.state_dict())
    trainer: Any = SimpleNamespace(should_stop=False)
    resumed.on_train_start(trainer, None)  # type: ignore[arg-type]
    assert trainer.should_stop and resumed.state_dict() == callback.state_dict()


LENGTH = Length(pairs=1_000_000, pairs_per_batch=10_000, pass_steps=100, max_steps=2_000, interval=50)


@pytest.mark.parametrize(
    ("steps", "ended", "validated", "words"),
    [
        (WARMUP - 1, True, True, ["only 59 optimizer steps"]),
        (600, False, False, ["the length of 600 steps is a guess"]),
        (2_000, False, True, ["validation was still improving when training ended after 2000 steps"]),
        (70, True, True, []),
        (WARMUP, True, True, []),
        (45, True, True, ["only 45 optimizer steps", "validation was best after 45 steps, 0.45 passes"]),
    ],
)
def test_a_warning_says_what_may_be_wrong_with_the_length(
    steps: int, ended: bool, validated: bool, words: list[str]
) -> None:
    sentences = length_warnings(LENGTH, steps, ended, validated)
    assert len(sentences) == len(words)
    for sentence, part in zip(sentences, words, strict=True):
        assert part in sentence


def test_a_length_that_the_trainer_gives_is_kept() -> None:
    assert not open_ended({"max_time": "00:01:00:00"}) and open_ended({"max_epochs": None, "max_steps": -1})
    for trainer, steps in (({"max_epochs": 3}, None), ({"max_epochs": 3, "max_steps": 9}, 9), ({"max_steps": 9}, 9)):
        assert steps_at_most(trainer, LENGTH, validated=True) == steps
    assert trainer_limits({"max_epochs": 3, "max_steps": 9}, LENGTH, validated=True) == {"max_steps": -1}
    assert trainer_limits({"max_steps": 9}, LENGTH, validated=True)["max_epochs"] == -1, "not Lightning's 1,000"


def test_an_open_length_is_the_longest_and_validation_ends_it() -> None:
    trainer = {"max_epochs": None, "max_steps": -1}
    assert steps_at_most(trainer, LENGTH, validated=True) == LENGTH.max_steps
    limits = trainer_limits(trainer, LENGTH, validated=True)
    assert limits["val_check_interval"] == LENGTH.interval and limits["check_val_every_n_epoch"] is None
    assert "val_check_interval" not in trainer_limits({"val_check_interval": 0.25}, LENGTH, validated=True)


def test_a_length_that_nothing_validates_is_a_guess_of_two_passes() -> None:
    assert steps_at_most({}, LENGTH, validated=False) == UNVALIDATED
    assert steps_at_most({}, LENGTH._replace(pass_steps=1_000), validated=False) == 2_000


def test_a_known_number_of_steps_stands_above_all() -> None:
    trainer = {"max_epochs": 3, "max_time": "00:01:00:00"}
    assert steps_at_most(trainer, LENGTH, validated=False, steps=7) == 7
    limits = trainer_limits(trainer, LENGTH, validated=False, steps=7)
    assert limits["max_epochs"] == -1 and limits["max_time"] is None


def test_a_training_ends_at_its_step_also_where_it_resumes_there() -> None:
    for hook in (EndAtStep(5).on_train_batch_end, EndAtStep(5).on_train_start):
        ended = []
        for step in (4, 5, 6):
            trainer: Any = SimpleNamespace(global_step=step, should_stop=False)
            hook(trainer, None)  # type: ignore[arg-type]
            ended.append(trainer.should_stop)
        assert ended == [False, True, True]
