"""Laws of cutoffs: labels close before the end, training dates count back from it, and a wrong date has a way out."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from propensity.data.cutoff import Cutoff, TrainingCutoffs, cutoff_of, labelled, last_windows
from propensity.data.event_log import to_date
from propensity.errors import ConfigurationError
from random_log import START, random_log

LOG = random_log(0)  # 450 days from START, a purchase on the first and on the last
LAST = START + timedelta(days=449)


def test_a_cutoff_reads_a_date_and_writes_it_back() -> None:
    cutoff = cutoff_of(LOG, "2023-06-01", 14)
    assert cutoff == cutoff_of(LOG, date(2023, 6, 1), 14)
    assert str(cutoff) == "2023-06-01" and cutoff.end == cutoff.day + 14
    assert str(cutoff_of(LOG, "2031-01-01", 1)) == "2031-01-01"  # a day past the log can be scored


def test_a_cutoff_needs_a_purchase_before_it_and_a_day_after_it() -> None:
    assert cutoff_of(LOG, START + timedelta(days=1), 1).day == LOG.first_day + 1
    with pytest.raises(ConfigurationError, match="cutoff 2023-01-02 is not after the first .*; give a later"):
        cutoff_of(LOG, START, 14)
    with pytest.raises(ConfigurationError, match="a horizon of 0 days predicts nothing; give data.horizon=1 or more"):
        cutoff_of(LOG, LAST, 0)
    with pytest.raises(ConfigurationError, match="'soon' is not a date; write it as YYYY-MM-DD"):
        cutoff_of(LOG, "soon", 14)


@pytest.mark.parametrize("horizon", [1, 14])
def test_a_label_window_lies_within_the_log(horizon: int) -> None:
    latest = Cutoff(LOG.last_day + 1 - horizon, horizon)
    assert labelled(LOG, latest) == latest
    words = f"need data up to .*, the log ends on {LAST}; give a cutoff of {latest} or earlier"
    with pytest.raises(ConfigurationError, match=words):
        labelled(LOG, Cutoff(latest.day + 1, horizon))


@pytest.mark.parametrize("step", [1, 7, 30])
@pytest.mark.parametrize("horizon", [1, 7, 28])
def test_training_dates_count_back_from_the_last_window_that_closes(step: int, horizon: int) -> None:
    for end in (LOG.last_day + 1, LOG.last_day - 100):
        found = TrainingCutoffs(step, count=9, minimum_history=200).before(LOG, end, horizon)
        days = [cutoff.day for cutoff in found]
        assert found[-1].end == end and len(found) <= 9
        assert all(b - a == step for a, b in zip(days, days[1:], strict=False))
        assert days[0] >= LOG.first_day + 200
        assert len(found) == 9 or days[0] - step < LOG.first_day + 200


def test_training_needs_complete_labels_and_enough_history() -> None:
    rule = TrainingCutoffs(minimum_history=56)
    words = f"labels up to .* are not complete, the log ends on {LAST}; give an end of {LAST + timedelta(1)} or earlier"
    with pytest.raises(ConfigurationError, match=words):
        rule.before(LOG, LOG.last_day + 2, 14)
    assert len(rule.before(LOG, LOG.first_day + 56 + 14, 14)) == 1
    with pytest.raises(ConfigurationError, match="no training cutoff fits: .* 56 days .*; lower data.split"):
        rule.before(LOG, LOG.first_day + 56 + 13, 14)


@pytest.mark.parametrize("name", ["step", "count", "minimum_history"])
def test_a_split_that_makes_no_send_dates_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"data.split.{name}=0 makes no send dates; give 1 or more"):
        TrainingCutoffs(**{name: 0})


def test_the_last_windows_end_with_the_log_and_lie_a_horizon_apart() -> None:
    log = LOG
    windows = last_windows(log, 7)
    assert windows == [to_date(log.last_day + 1 - 7 * k).isoformat() for k in (3, 2, 1)]
    assert [str(labelled(log, cutoff_of(log, day, 7))) for day in windows] == windows
    assert last_windows(log, 7, after=windows[1]) == windows[1:]


def test_without_a_window_left_the_end_to_train_with_is_named() -> None:
    log = LOG
    end = to_date(log.last_day + 1)
    with pytest.raises(ConfigurationError, match="no label window of 7 days .* the log .*; train with data.end="):
        last_windows(log, 7, after=end.isoformat())
