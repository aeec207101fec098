"""The rule that chooses the champion by the validation windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from propensity.baseline.regression import log_losses, logistic
from propensity.champion.outcome import ValidationPairs
from propensity.metric.builtin import METRICS
from propensity.metric.interval import Interval, bootstrap_interval, resample_weights
from propensity.metric.labels import Prediction, unnamed_labels
from propensity.metric.metric_table import mean_values

STACK = "stack"
ONLY = "it is the only candidate"
RESAMPLES = 500
NAMES = (
    *("auc", "average_precision", "normalised_revenue_capture"),
    *("expected_over_observed", "expected_over_observed_revenue"),
)
SHOWN = [metric for metric in METRICS if metric.name in NAMES]


class Choice(NamedTuple):
    """The champion, why, and how every candidate did on the validation windows.

    Attributes
    ----------
    champion : str
        Name of a candidate, or `stack`.
    why : str
        The reason as a clause, to be read after "because".
    candidates : dict
        Name -> log_loss, difference, low and high of its log loss to the champion's, and the metrics of `SHOWN` that
        are defined, means over the windows; JSON-able.
    """

    champion: str
    why: str
    candidates: dict[str, dict[str, float]]


def choose(
    pairs: ValidationPairs, stack_logit: np.ndarray, stack_amount: np.ndarray | None = None, seed: int = 0
) -> Choice:
    """The champion by the log loss of the validation pairs.

    Parameters
    ----------
    pairs : ValidationPairs
        Log-odds of Q candidates, the simplest first.
    stack_logit : np.ndarray
        (K,) cross-fitted log-odds of their stack.
    stack_amount : np.ndarray or None
        (K,) amounts of the stack; None: no metrics but the log loss.
    seed : int
        Of the bootstrap.

    Returns
    -------
    Choice
        The champion and its reason.

    Notes
    -----
    The rule: the stack, unless a single candidate's log loss is lower with a 95 % interval of the difference, from a
    paired bootstrap over customers, above 0. The reason: one or a few windows seldom tell good candidates apart, the
    best of them changes from date to date, and their mean loses less than a wrong choice does.
    """
    models: Mapping[str, np.ndarray] = dict(zip(pairs.names, pairs.logit, strict=True)) | {STACK: stack_logit}
    losses = {name: _by_customer(log_losses(logit, pairs.bought), pairs.customer) for name, logit in models.items()}
    size = _by_customer(np.ones(pairs.bought.size), pairs.customer)
    weight = resample_weights([np.arange(size.size)], RESAMPLES, seed)[0].T.astype(np.float64)
    log_loss = {name: float(loss.sum() / size.sum()) for name, loss in losses.items()}

    def difference(name: str, other: str) -> Interval:
        return bootstrap_interval(weight @ (losses[name] - losses[other]) / (weight @ size))

    best = min(pairs.names, key=lambda name: log_loss[name])
    gain = difference(STACK, best)
    champion = best if len(pairs.names) == 1 or gain.low > 0 else STACK
    rows = {name: _row(log_loss[name], difference(name, champion)) for name in models}
    if pairs.shapes and stack_amount is not None:
        for name, amount in zip(models, [*pairs.amount, stack_amount], strict=True):
            rows[name] |= _metrics(pairs, models[name], amount)
    return Choice(champion, _why(champion, best, log_loss, gain, pairs), rows)


def _by_customer(values: np.ndarray, customer: np.ndarray) -> np.ndarray:
    """Sums over the pairs of each customer: (K,), (K,) -> (G,)."""
    return np.bincount(customer, values)


def _row(log_loss: float, difference: Interval) -> dict[str, float]:
    return {"log_loss": log_loss, "difference": difference.value, "low": difference.low, "high": difference.high}


def _metrics(pairs: ValidationPairs, logit: np.ndarray, amount: np.ndarray) -> dict[str, float]:
    """Means over the windows of the metrics that are defined in all of them."""
    windows, start = [], 0
    for shape in pairs.shapes:
        part = slice(start, start + shape[0] * shape[1])
        probability = logistic(logit[part]).reshape(shape)
        bought, revenue = pairs.bought[part].reshape(shape), pairs.revenue[part].reshape(shape)
        labels = unnamed_labels(bought, revenue, {"all": np.ones(shape, bool)})
        windows.append((labels, Prediction(probability, probability * amount[part].reshape(shape))))
        start = part.stop
    return mean_values(windows, SHOWN)["all"]


def _why(champion: str, best: str, log_loss: Mapping[str, float], gain: Interval, pairs: ValidationPairs) -> str:
    """The reason of the choice."""
    if len(pairs.names) == 1:
        return ONLY
    windows = f"on {max(len(pairs.shapes), 1)} validation window{'s' * (len(pairs.shapes) > 1)}"
    ours = f"its log loss {windows} is {log_loss[champion]:.4f}"
    difference = "{:+.4f} [{:+.4f}, {:+.4f}]".format(*gain)
    if champion == STACK and gain.value > 0:
        return (
            f"{windows} its log loss is {log_loss[champion]:.4f} and that of {best}, the best single candidate, "
            f"{log_loss[best]:.4f}, and the interval of the difference contains 0 ({difference})"
        )
    if champion == STACK:
        return f"{ours}, against {log_loss[best]:.4f} of {best}, the best single candidate (difference {difference})"
    return f"{ours}, against {log_loss[STACK]:.4f} of the stack (the stack's difference is {difference})"
