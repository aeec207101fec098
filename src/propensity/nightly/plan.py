"""What a night has to do: the steps in their order, what each needs, and when a model is trained. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

from propensity.nightly.shop import Promote, Retrain


class StepPlan(NamedTuple):
    """A step.

    Attributes
    ----------
    name : str
        Name in the journal, the summary and the record of times.
    title : str
        What it does.
    needs : tuple of str
        Steps whose results it reads; it is left out if one of them has none.
    required : bool
        Whether an error ends the night. Otherwise the night goes on with what does not need the step.
    """

    name: str
    title: str
    needs: tuple[str, ...] = ()
    required: bool = False


STEPS = (
    StepPlan("fetch", "looking for deliveries", required=True),
    StepPlan("check", "checking new deliveries by the data contract", ("fetch",), required=True),
    StepPlan("append", "appending them to the log", ("fetch", "check"), required=True),
    StepPlan("verify", "comparing the log with its checksums", ("append",), required=True),
    StepPlan("drift", "comparing the log with the training data of the live model", ("verify",)),
    StepPlan("train", "training a challenger where one is due", ("verify",)),
    StepPlan("export", "exporting the challenger", ("train",)),
    StepPlan("compare", "comparing live model and challenger on the last closed window", ("train", "export")),
    StepPlan("promote", "choosing the live model", ("train", "compare")),
    StepPlan("score", "scoring all customers with the live model", ("verify",)),
    StepPlan("decide", "making the decisions and send lists", ("score",)),
    StepPlan("summary", "writing the summary", required=True),
)


class Trained(NamedTuple):
    """What counts of a model for the next training: its night, and the first day after its last label."""

    night: str
    last_label: str


def reason_to_train(
    settings: Retrain, night: str, live: Trained | None, newest: Trained | None, alarms: Sequence[str], window: str
) -> tuple[bool, str]:
    """Whether a model is trained, and why or why not.

    Parameters
    ----------
    settings : Retrain
        When a model is trained.
    night : str
        Date of the night, YYYY-MM-DD.
    live : Trained or None
        The live model.
    newest : Trained or None
        The model that was trained last on an earlier night, live or not.
    alarms : sequence of str
        Alarms of the drift.
    window : str
        Last cutoff whose label window has closed, YYYY-MM-DD.

    Notes
    -----
    Age counts from the last training, also of a challenger that was not made live, so that a challenger that loses is
    not trained again on the next night. For the same reason an alarm that stays is a reason only once the labels of a
    whole new window are there.

    Examples
    --------
    >>> old = Trained("2024-03-01", "2024-02-16")
    >>> reason_to_train(Retrain(age=28), "2024-03-30", old, old, [], "2024-03-15")
    (True, 'the last training is 29 days old, 28 or more')
    >>> reason_to_train(Retrain(age=28), "2024-03-10", old, old, [], "2024-02-25")
    (False, 'the last training is 9 days old, less than 28')
    """
    if live is None or newest is None:
        return True, "no model is live"
    age = (date.fromisoformat(night) - date.fromisoformat(newest.night)).days
    if settings.age is not None and age >= settings.age:
        reason = f"the last training is {days(age)} old, {settings.age} or more"
    elif settings.drift and alarms:
        reason = f"drift: {'; '.join(alarms)}"
        if window < newest.last_label:
            return False, f"{reason}; but no label window has closed since the last training"
    elif settings.age is None:
        return False, "retrain.age is null, and the drift gave no alarm"
    else:
        return False, f"the last training is {days(age)} old, less than {settings.age}"
    if window < live.last_label:
        return False, (
            f"{reason}; but no label window has closed since {live.last_label}, on which models could be compared"
        )
    return True, reason


def days(count: int) -> str:
    """A number of days in words.

    >>> days(1), days(28)
    ('1 day', '28 days')
    """
    return f"{count} day" + ("" if count == 1 else "s")


def is_promoted(settings: Promote, live: str | None, verdict: str | None) -> tuple[bool, str]:
    """Whether a challenger becomes the live model, and why.

    Parameters
    ----------
    settings : Promote
        When it does.
    live : str or None
        The live model.
    verdict : {"win", "tie", "loss", "undefined"} or None
        Of the comparison; None without a live model.

    Examples
    --------
    >>> is_promoted(Promote(), "a", "tie"), is_promoted(Promote(when="win"), "a", "tie")[0]
    ((True, 'the challenger is not worse than a (tie)'), False)
    """
    if live is None or verdict is None:
        return True, "it is the first model"
    if settings.when == "never":
        return False, f"promote.when is never ({verdict} against {live})"
    if verdict == "undefined":
        return False, f"no metric is defined on the window, so {live} stays"
    if verdict == "loss":
        return False, f"the challenger is worse than {live} (loss)"
    if verdict == "win":
        return True, f"the challenger is better than {live} (win)"
    if settings.when == "win":
        return False, f"the challenger is not better than {live} (tie)"
    return True, f"the challenger is not worse than {live} (tie)"


def exit_problem(problems: Sequence[dict[str, Any]]) -> int:
    """The exit code of a night: that of its first problem, 0 without one."""
    return int(problems[0]["exit_code"]) if problems else 0
