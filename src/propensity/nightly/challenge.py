"""Live model against challenger on a label window that has closed since both were trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from propensity.champion.champion import SERVED, Champion
from propensity.data.event_log import EventLog, to_date, to_day
from propensity.errors import ConfigurationError
from propensity.evaluation.evaluate import cutoff_data_of
from propensity.evaluation.labels import labels
from propensity.metric.evaluation import evaluate
from propensity.metric.labels import Prediction
from propensity.mistake import nearest
from propensity.scores import Scores, aligned
from propensity.training.checkpoint import Trained, load_trained

LIVE, CHALLENGER = "live", "challenger"
WIN, TIE, LOSS, UNDEFINED = "win", "tie", "loss", "undefined"


def last_window(log: EventLog, horizon: int, night: str) -> tuple[str, str]:
    """The last label window that has closed by a night.

    Parameters
    ----------
    log : EventLog
        The log.
    horizon : int
        Days of a window.
    night : str
        YYYY-MM-DD; purchases of this day or later are in no window.

    Returns
    -------
    cutoff, end : str
        First day of the window, and first day after it, YYYY-MM-DD.

    Raises
    ------
    ConfigurationError
        If the log is shorter than a label window.
    """
    end = min(log.last_day + 1, to_day(night))
    if end - horizon <= log.first_day:
        raise ConfigurationError(
            f"no label window of {horizon} days has closed by {night}, as the log begins on {to_date(log.first_day)}; "
            "deliver a longer history, or wait"
        )
    return to_date(end - horizon).isoformat(), to_date(end).isoformat()


def compare(
    live: Path, challenger: Path, log: EventLog, cutoff: str, metrics: tuple[str, ...], resamples: int
) -> dict[str, Any]:
    """Compare two runs at one cutoff, on the same customers and offers.

    Parameters
    ----------
    live, challenger : Path
        Folders of the runs.
    log : EventLog
        A log that covers the label window.
    cutoff : str
        YYYY-MM-DD; no training label of either reaches it.
    metrics : tuple of str
        Metrics of the verdict.
    resamples : int
        Bootstrap resamples of customers.

    Returns
    -------
    dict
        `verdict`: `loss` if the challenger is significantly worse in a metric, else `win` if it is better in one, else
        `tie`; `undefined` without any value. `metrics`: values of both, and the paired difference with its 95 %
        interval, its verdict and its minimum detectable effect.

    Raises
    ------
    ConfigurationError
        If both predict something else, or a metric does not exist.
    """
    models = {CHALLENGER: load_trained(challenger), LIVE: load_trained(live)}
    require_same_task(models[LIVE], models[CHALLENGER], live)
    data = cutoff_data_of(models[CHALLENGER], log, cutoff)
    scores = {CHALLENGER: Champion.load(challenger, models[CHALLENGER].model).predict(data)[SERVED]}
    other = Champion.load(live, models[LIVE].model).predict(cutoff_data_of(models[LIVE], log, cutoff))
    scores[LIVE] = aligned(other[SERVED], data.customer_id, scores[CHALLENGER].offer)
    result = evaluate(
        [labels(log, data)],
        {name: [prediction_of(each)] for name, each in scores.items()},
        reference=CHALLENGER,
        resamples=resamples,
    )
    cells = result["differences"][LIVE]["mean"]["all"]
    if unknown := [name for name in metrics if name not in cells]:
        near = nearest(unknown[0], cells)
        raise ConfigurationError(f"promote.metrics names {unknown[0]}, which is no metric; did you mean {near}?")
    values = {name: result["models"][name]["mean"]["all"] for name in scores}
    rows = {
        name: {**cells[name], **{model: values[model][name]["value"] for model in scores},
               "title": result["metrics"][name]["title"]}
        for name in metrics
    }  # fmt: skip
    counts = result["counts"][cutoff]
    verdicts = [row["verdict"] for row in rows.values()]
    return {
        "verdict": verdict_of(verdicts),
        "metrics": rows,
        "customers": counts["customers"],
        "pairs": counts["pairs"],
    }


def prediction_of(scores: Scores) -> Prediction:
    """Scores as metrics read them."""
    return Prediction(scores.probability, scores.revenue, scores.mask)


def verdict_of(verdicts: list[str | None]) -> str:
    """The verdict of several metrics.

    >>> verdict_of(["win", "tie"]), verdict_of(["win", "loss"]), verdict_of(["tie", None]), verdict_of([None])
    ('win', 'loss', 'tie', 'undefined')
    """
    known = [each for each in verdicts if each is not None]
    if not known:
        return UNDEFINED
    return next((word for word in (LOSS, WIN) if word in known), TIE)


def require_same_task(live: Trained, challenger: Trained, name: Path) -> None:
    """Refuse runs with other offers or another horizon: their probabilities are of something else."""
    ours, theirs = (each.about["config"]["data"] for each in (challenger, live))
    changed = [key for key in ("horizon", "offer") if ours[key] != theirs[key]]
    if changed:
        raise ConfigurationError(
            f"data.{changed[0]} was changed since {name} was trained, so that the models cannot be compared; look at "
            "the new one and make it live: propensity registry promote"
        )
