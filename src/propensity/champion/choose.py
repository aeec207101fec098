"""The rule that chooses the champion by the validation windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from propensity.champion.outcome import ValidationPairs, pair_losses
from propensity.metric.interval import Interval, bootstrap_interval, resample_weights

STACK = "stack"
RESAMPLES = 500


class Choice(NamedTuple):
    """The champion, why, and how every candidate did on the validation windows.

    Attributes
    ----------
    champion : str
        Name of a candidate, or `stack`.
    why : str
        One sentence.
    candidates : dict
        Name -> log_loss, and difference, low and high of its log loss to the champion's; JSON-able.
    """

    champion: str
    why: str
    candidates: dict[str, dict[str, float]]


def choose(pairs: ValidationPairs, stack_logit: np.ndarray, seed: int = 0) -> Choice:
    """The champion by the log loss of the validation pairs.

    Parameters
    ----------
    pairs : ValidationPairs
        Log-odds of Q candidates, the simplest first.
    stack_logit : np.ndarray
        (K,) cross-fitted log-odds of their stack.
    seed : int
        Of the bootstrap.

    Returns
    -------
    Choice
        The champion and its reason.

    Notes
    -----
    The rule: models are visited from the simplest to the stack, which comes last. A model takes the place of the one
    before where its log loss is lower and the 95 % interval of the difference, from a paired bootstrap over customers,
    excludes 0. The single candidate with the lowest log loss is the exception: it needs no interval to stand against
    other single candidates. The reason: single candidates are equally easy to serve, and the lower loss is the better
    guess even where the interval holds 0. The stack needs all candidates at every score, and its weights were chosen
    on the same windows, so it has to prove its gain.
    """
    models: Mapping[str, np.ndarray] = dict(zip(pairs.names, pairs.logit, strict=True)) | {STACK: stack_logit}
    losses = {name: _by_customer(pair_losses(logit, pairs.bought), pairs.customer) for name, logit in models.items()}
    size = _by_customer(np.ones(pairs.bought.size), pairs.customer)
    weight = resample_weights([np.arange(size.size)], RESAMPLES, seed)[0].T.astype(np.float64)
    log_loss = {name: float(loss.sum() / size.sum()) for name, loss in losses.items()}

    def difference(name: str, other: str) -> Interval:
        return bootstrap_interval(weight @ (losses[name] - losses[other]) / (weight @ size))

    best = min(pairs.names, key=lambda name: log_loss[name])
    gain = difference(STACK, best)
    champion = STACK if len(pairs.names) > 1 and gain.high < 0 else best
    rows = {name: _row(log_loss[name], difference(name, champion)) for name in models}
    return Choice(champion, _why(champion, best, log_loss, gain, pairs), rows)


def _by_customer(values: np.ndarray, customer: np.ndarray) -> np.ndarray:
    """Sums over the pairs of each customer: (K,), (K,) -> (G,)."""
    return np.bincount(customer, values)


def _row(log_loss: float, difference: Interval) -> dict[str, float]:
    return {"log_loss": log_loss, "difference": difference.value, "low": difference.low, "high": difference.high}


def _why(champion: str, best: str, log_loss: Mapping[str, float], gain: Interval, pairs: ValidationPairs) -> str:
    """The sentence of the choice."""
    if len(pairs.names) == 1:
        return f"{best}: the only candidate"
    windows = f"on {pairs.windows} validation window{'s' * (pairs.windows > 1)}"
    if champion == STACK:
        other = f"against {_short(log_loss[best])} of {best}"
        return f"stack: log loss {_short(log_loss[STACK])} {other}, difference {_span(gain)} {windows}"
    second = min((name for name in pairs.names if name != best), key=lambda name: log_loss[name])
    other = f"against {_short(log_loss[second])} of {second}"
    kept = f"the stack's difference {_span(gain)} does not exclude 0"
    if gain.low > 0:
        kept = f"the stack's difference is {_span(gain)}"
    return f"{best}: log loss {_short(log_loss[best])} {other} {windows}; {kept}"


def _short(value: float) -> str:
    """Four decimals without the leading zero."""
    return f"{value:.4f}".replace("0.", ".", 1)


def _span(gain: Interval) -> str:
    value, low, high = (f"{each:+.4f}".replace("0.", ".", 1) for each in gain)
    return f"{value} [{low}, {high}]"


def as_json(choice: Choice) -> dict[str, Any]:
    """The content of champion.json that comes from the choice."""
    return choice._asdict()
