"""Laws of cutoffs: labels close before the end, training dates count back from it, and a wrong date has a way out."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from propensity.data.cutoff import Cutoff, TrainingCutoffs, last_windows, parse_cutoff, require_labels
from propensity.data.event_log import to_date
from propensity.errors import ConfigurationError
from random_log import START, random_log

LOG = random_log(0)  # 450 days from START, a purchase on the first and on the last
LAST = START + timedelta(days=449)


def test_a_cutoff_reads_a_date_and_writes_it_back() -> None:
    cutoff = parse_cutoff(LOG, "2023-06-01", 14)
    assert cutoff == parse_cutoff(LOG, date(2023, 6, 1), 14)
    assert str(cutoff) == "2023-06-01" and cutoff.end == cutoff.day + 14
    assert str(parse_cutoff(LOG, "2031-01-01", 1)) == "2031-01-01"  # a day past the log can be scored


def test_a_cutoff_needs_a_purchase_before_it_and_a_day_after_it() -> None:
    assert parse_cutoff(LOG, START + timedelta(days=1), 1).day == LOG.first_day + 1
    with pytest.raises(ConfigurationError, match="cutoff 2023-01-02 is not after the first .*; use a later"):
        parse_cutoff(LOG, START, 14)
    with pytest.raises(ConfigurationError, match="data.horizon=0 is too short; use 1 day or more"):
        parse_cutoff(LOG, LAST, 0)
    with pytest.raises(ConfigurationError, match="'soon' is not a date; write it as YYYY-MM-DD"):
        parse_cutoff(LOG, "soon", 14)


@pytest.mark.parametrize("horizon", [1, 14])
def test_a_label_window_lies_within_the_log(horizon: int) -> None:
    latest = Cutoff(LOG.last_day + 1 - horizon, horizon)
    assert require_labels(LOG, latest) == latest
    words = f"need data up to .*, the log ends on {LAST}; use a cutoff of {latest} or earlier"
    with pytest.raises(ConfigurationError, match=words):
        require_labels(LOG, Cutoff(latest.day + 1, horizon))


@pytest.mark.parametrize("step", [1, 7, 30])
@pytest.mark.parametrize("horizon", [1, 7, 28])
def test_training_cutoffs_count_back_from_the_last_closed_window(step: int, horizon: int) -> None:
    for end in (LOG.last_day + 1, LOG.last_day - 100):
        cutoffs = TrainingCutoffs(step, count=9, minimum_history=200).before(LOG, end, horizon)
        days = [cutoff.day for cutoff in cutoffs]
        assert cutoffs[-1].end == end and len(cutoffs) <= 9
        assert all(b - a == step for a, b in zip(days, days[1:], strict=False))
        assert days[0] >= LOG.first_day + 200
        assert len(cutoffs) == 9 or days[0] - step < LOG.first_day + 200


def test_training_needs_complete_labels_and_enough_history() -> None:
    split = TrainingCutoffs(minimum_history=56)
    words = f"labels up to .* are not complete, the log ends on {LAST}; use an end of {LAST + timedelta(1)} or earlier"
    with pytest.raises(ConfigurationError, match=words):
        split.before(LOG, LOG.last_day + 2, 14)
    assert len(split.before(LOG, LOG.first_day + 56 + 14, 14)) == 1
    with pytest.raises(ConfigurationError, match="no training cutoff fits: .* 56 days .*; lower data.cutoff"):
        split.before(LOG, LOG.first_day + 56 + 13, 14)


def test_a_quarter_of_a_short_log_is_history_enough() -> None:
    first = LOG.first_day
    for days, history in ((90, 22), (223, 55), (224, 56), (400, 56)):
        assert TrainingCutoffs().history(LOG, first + days) == history
        assert TrainingCutoffs(minimum_history=28).history(LOG, first + days) == 28
    assert len(TrainingCutoffs().before(LOG, first + 90, 14)) == 8


@pytest.mark.parametrize("name", ["step", "count", "minimum_history"])
def test_a_split_setting_below_one_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"data.cutoff.{name}=0 is too small; use 1 or more"):
        TrainingCutoffs(**{name: 0})


def test_the_last_windows_end_with_the_log_and_lie_a_horizon_apart() -> None:
    log = LOG
    windows = last_windows(log, 7)
    assert windows == [to_date(log.last_day + 1 - 7 * k).isoformat() for k in (3, 2, 1)]
    assert [str(require_labels(log, parse_cutoff(log, day, 7))) for day in windows] == windows
    assert last_windows(log, 7, after=windows[1]) == windows[1:]


def test_without_a_window_left_the_end_to_train_with_is_named() -> None:
    log = LOG
    end = to_date(log.last_day + 1)
    with pytest.raises(ConfigurationError, match="no label window of 7 days .* the log .*; train with data.end="):
        last_windows(log, 7, after=end.isoformat())
