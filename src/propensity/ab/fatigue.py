"""Fatigue: the effect of the n-th message in a window, where arms or drawn contacts allow it, and else the reason.

Two designs show it. Arms with different numbers of messages: the difference of two arms, per message between them.
Contacts that were drawn one by one with known probabilities: those that were sent are compared with those that were
not, among customers with as many messages before (a micro-randomised trial; Boruvka et al., JASA 2018).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.ab.distribution import normal_p, normal_quantile
from propensity.ab.effect import ALPHA, holm
from propensity.ab.split import GLOBAL
from propensity.ab.table import SUSPECT, Experiment
from propensity.ab.validity import balance, placebo, refusal, sample_ratio, stabilised
from propensity.errors import DataError

NOT_SENT = ("holdout", "control", "business as usual", GLOBAL)  # arms of contacts that were drawn and not sent
FEWEST = 200.0  # effective customers, sent and not sent, below which no effect of a number is stated
APART = 0.5  # messages between two arms below which they had the same number
ONLY_SENT = (
    "the contacts name nobody who was drawn and not sent, so that no effect of a message can be known; use arms with "
    "different numbers of messages (propensity ab split), or write down also who was drawn for the holdout"
)


class Steps(NamedTuple):
    """Effects of K messages, the covariance of their estimates, and what they are based on."""

    n: np.ndarray  # (K,) which message, on average
    effect: np.ndarray  # (K,)
    covariance: np.ndarray  # (K, K)
    base: list[dict[str, Any]]  # (K,) what a cell says besides


def fatigue_of_arms(experiment: Experiment, messages: np.ndarray, alpha: float = ALPHA) -> dict[str, Any]:
    """Effect of each further message from arms with different numbers of messages.

    Parameters
    ----------
    experiment : Experiment
        n customers; the arms that were drawn.
    messages : np.ndarray
        (n,) messages that each customer got.
    alpha : float
        Probability of any false claim about an outcome.

    Returns
    -------
    dict
        `method`, `refused` (None or the reason), `notes`, `sentences`, and `outcomes`: outcome -> `{messages, trend}`,
        where each of `messages` is `{n, effect, low, high, p, p_adjusted, from, to, ...}` and `trend` is the change of
        the effect by one further message.

    Notes
    -----
    The effect of a message is the difference of the outcome between two arms over that of the number of messages, which
    is right where arms change the outcome through that number alone (Wald's instrumental variable).
    """
    weight = stabilised(experiment)
    srm_p, source = sample_ratio(experiment)
    table, balance_p = balance(experiment, weight)
    refused = refusal(experiment, srm_p, source, table, balance_p, placebo(experiment, weight))
    codes = range(len(experiment.arms) + 1)
    names = [experiment.control, *experiment.arms]
    mean = np.array([np.average(messages[experiment.arm == c], weights=weight[experiment.arm == c]) for c in codes])
    order = np.argsort(mean, kind="stable")
    refused = refused or _same_numbers(names, mean, order)
    result: dict[str, Any] = {"method": "arms", "srm_p": srm_p, "refused": refused, "notes": list(experiment.notes)}
    result |= {"numbers": {names[c]: float(mean[c]) for c in order}, "outcomes": {}}
    if refused is None:
        for outcome, y in experiment.outcomes.items():
            steps = _between_arms(experiment, y, weight, mean, order, names)
            result["outcomes"][outcome] = _stated(steps, alpha)
    return _with_sentences(result)


def _same_numbers(names: list[str], mean: np.ndarray, order: np.ndarray) -> str | None:
    """Why the numbers of messages of the arms show no fatigue, or None."""
    gaps = np.diff(mean[order])
    if (gaps >= APART).sum() >= 2:
        return None
    listed = ", ".join(f"{names[c]} {mean[c]:.2g}" for c in order)
    return (
        f"the arms got on average {listed} messages: the effect of a further message needs three arms at least {APART} "
        "messages apart, such as none, one and three; draw such arms (propensity ab split)"
    )


def _between_arms(
    experiment: Experiment, y: np.ndarray, weight: np.ndarray, mean: np.ndarray, order: np.ndarray, names: list[str]
) -> Steps:
    """Effects between arms that follow each other by their number of messages, without those of the same number."""
    chain = [int(order[0])]
    for c in order[1:].tolist():
        if mean[c] - mean[chain[-1]] >= APART:
            chain.append(c)
    level, variance = np.zeros(len(chain)), np.zeros(len(chain))
    for k, c in enumerate(chain):
        mask = experiment.arm == c
        w = weight[mask] / weight[mask].sum()
        level[k] = w @ y[mask]
        variance[k] = float(np.sum((w * (y[mask] - level[k])) ** 2)) * mask.sum() / (mask.sum() - 1)
    gap = np.diff(mean[chain])
    contrast = (np.eye(len(chain))[1:] - np.eye(len(chain))[:-1]) / gap[:, None]
    base = [
        {"from": names[a], "to": names[b], "customers": int(np.isin(experiment.arm, (a, b)).sum())}
        for a, b in zip(chain[:-1], chain[1:], strict=True)
    ]
    n = (mean[chain][:-1] + mean[chain][1:] + 1) / 2  # the mean of the messages from the one after the first arm's
    return Steps(n, contrast @ level, (contrast * variance) @ contrast.T, base)


def fatigue_of_contacts(
    contacts: pl.DataFrame, outcomes: Mapping[str, np.ndarray], placebos: Mapping[str, np.ndarray], alpha: float = ALPHA
) -> dict[str, Any]:
    """Effect of the n-th message from contacts that were drawn one by one.

    Parameters
    ----------
    contacts : pl.DataFrame
        C rows: `customer`, `sent` (bool), `probability` of what was drawn, sent or not, and `before`, the messages of
        the customer in the window before.
    outcomes, placebos : mapping of str to np.ndarray
        (C,) outcomes of the days after the contact, and of those before it.
    alpha : float
        Probability of any false claim about an outcome.

    Returns
    -------
    dict
        As `fatigue_of_arms`.

    Raises
    ------
    DataError
        If a probability is missing, 0 or above 1.

    Notes
    -----
    Inverse probability weighting within each number of messages before, which was settled when the contact was drawn.
    The covariance allows for contacts of the same customer. The outcome includes what later messages do to it.
    """
    p, sent = contacts["probability"].cast(pl.Float64).to_numpy(), contacts["sent"].to_numpy().astype(bool)
    if not ((p > 0) & (p <= 1)).all():  # NaN fails too
        raise DataError("probability is missing, 0 or above 1 in a contact; write the probability of what was drawn")
    result: dict[str, Any] = {"method": "contacts", "notes": [], "outcomes": {}, "refused": _not_drawn(sent, p)}
    _, customer = np.unique(contacts["customer"].cast(pl.String).to_numpy(), return_inverse=True)
    n = contacts["before"].to_numpy().astype(np.int64) + 1
    numbers, few = _enough(n, sent, p)
    result["numbers"] = {str(k): int((n == k).sum()) for k in np.unique(n)}
    if result["refused"] is None and few and len(numbers) < 2:
        result["refused"] = (
            f"{few}; the change of the effect needs two numbers of messages with {FEWEST:.0f} effective customers "
            "each, sent and not sent"
        )
    if result["refused"] is None:
        result["refused"] = _placebo_refusal(placebos, customer, n, sent, p, numbers)
    if result["refused"] is None:
        result["notes"] = [few] if few else []
        for outcome, y in outcomes.items():
            result["outcomes"][outcome] = _stated(_by_number(y, customer, n, sent, p, numbers), alpha)
    return _with_sentences(result)


def _not_drawn(sent: np.ndarray, p: np.ndarray) -> str | None:
    """Why the contacts are no experiment, or None."""
    if sent.all() or not sent.any():
        return ONLY_SENT
    if (p >= 1).any():
        return (
            f"{int((p >= 1).sum()):,} contacts were sent or not sent with probability 1: where the log is "
            "deterministic nobody shows what another choice would have done; draw contacts at random (decision.explore)"
        )
    chance = np.where(sent, p, 1 - p)
    z = float(sent.sum() - chance.sum()) / math.sqrt(float(chance @ (1 - chance)))
    if normal_p(z) < SUSPECT:
        return (
            f"{int(sent.sum()):,} contacts were sent and their probabilities add up to {chance.sum():,.0f} (p "
            f"{normal_p(z):.2g}): a sample ratio mismatch; write the probabilities with which they were drawn"
        )
    return None


def _enough(n: np.ndarray, sent: np.ndarray, p: np.ndarray) -> tuple[list[int], str]:
    """Numbers of messages with an effective sample of sent and not sent, and a sentence on the others."""
    good: list[tuple[int, float]] = []
    poor: list[tuple[int, float]] = []
    for k in np.unique(n).tolist():
        smallest = min(_effective(1 / p[(n == k) & (sent == side)]) for side in (True, False))
        (good if smallest >= FEWEST else poor).append((k, smallest))
    listed = ", ".join(f"{k} ({size:.0f})" for k, size in poor[:6])
    return [k for k, _ in good], f"too few contacts of message {listed} for an effect" if poor else ""


def _effective(weight: np.ndarray) -> float:
    """Kish's effective sample."""
    return float(weight.sum() ** 2 / (weight @ weight)) if weight.size else 0.0


def _placebo_refusal(
    placebos: Mapping[str, np.ndarray],
    customer: np.ndarray,
    n: np.ndarray,
    sent: np.ndarray,
    p: np.ndarray,
    numbers: list[int],
) -> str | None:
    """Why outcomes before the contact show that it was not drawn, or None."""
    for name, y in placebos.items():
        steps = _by_number(y, customer, n, sent, p, numbers)
        error = np.sqrt(np.diag(steps.covariance))
        values = [normal_p(e / s) for e, s in zip(steps.effect, error, strict=True) if s > 0]
        if values and min(values) * len(values) * len(placebos) < SUSPECT:
            return (
                f"{name} differed before the contact between sent and not sent (p {min(values):.2g}): the placebo "
                "shows that the contacts were not drawn as their probabilities say"
            )
    return None


def _by_number(
    y: np.ndarray, customer: np.ndarray, n: np.ndarray, sent: np.ndarray, p: np.ndarray, numbers: list[int]
) -> Steps:
    """Weighted differences by number of messages, and their covariance over customers."""
    effect = np.zeros(len(numbers))
    influence = np.zeros((int(customer.max()) + 1, len(numbers)))
    base = []
    for k, number in enumerate(numbers):
        for side in (True, False):
            rows = np.flatnonzero((n == number) & (sent == side))
            weight = 1 / p[rows] / (1 / p[rows]).sum()
            mean, sign = float(weight @ y[rows]), 1.0 if side else -1.0
            effect[k] += sign * mean
            np.add.at(influence[:, k], customer[rows], sign * weight * (y[rows] - mean))
        own = n == number
        base.append({"contacts": int(own.sum()), "customers": int(np.unique(customer[own]).size)})
    return Steps(np.array(numbers, np.float64), effect, influence.T @ influence, base)


def _stated(steps: Steps, alpha: float) -> dict[str, Any]:
    """Effects with intervals and adjusted p-values, and their change by a further message."""
    half = normal_quantile(1 - alpha / 2)
    error = np.sqrt(np.diag(steps.covariance))
    raw = {str(k): normal_p(e / s) if s > 0 else 1.0 for k, (e, s) in enumerate(zip(steps.effect, error, strict=True))}
    adjusted = holm(raw)
    cells = [
        {
            "n": float(steps.n[k]),
            "effect": float(steps.effect[k]),
            "low": float(steps.effect[k] - half * error[k]),
            "high": float(steps.effect[k] + half * error[k]),
            "p": raw[str(k)],
            "p_adjusted": adjusted[str(k)],
        }
        | steps.base[k]
        for k in range(steps.n.size)
    ]
    return {"messages": cells, "trend": _trend(steps, alpha)}


def _trend(steps: Steps, alpha: float) -> dict[str, Any]:
    """Change of the effect by one further message: least squares weighted by the precision of the effects."""
    variance = np.maximum(np.diag(steps.covariance), 1e-300)
    weight = 1 / variance / (1 / variance).sum()
    centred = steps.n - weight @ steps.n
    slope = weight * centred / float(weight @ centred**2)
    value, error = float(slope @ steps.effect), math.sqrt(max(float(slope @ steps.covariance @ slope), 0.0))
    half, p = normal_quantile(1 - alpha / 2) * error, normal_p(value / error) if error > 0 else 1.0
    mde = (normal_quantile(1 - alpha / 2) + normal_quantile(0.8)) * error
    verdict = "no change could be seen" if p > alpha else "fatigue" if value < 0 else "the effect grows"
    return {"change": value, "low": value - half, "high": value + half, "p": p, "mde": mde, "verdict": verdict}


def _with_sentences(result: dict[str, Any]) -> dict[str, Any]:
    """The result in words."""
    lines = [result["refused"]] if result["refused"] else []
    for outcome, part in result["outcomes"].items():
        lines += [
            f"{outcome}: message {cell['n']:.3g} in the window: {cell['effect']:+.4g} [{cell['low']:+.4g}, "
            f"{cell['high']:+.4g}], adjusted p {cell['p_adjusted']:.3g}"
            for cell in part["messages"]
        ]
        trend = part["trend"]
        lines.append(
            f"{outcome}: {trend['verdict']}; the effect changes by {trend['change']:+.4g} [{trend['low']:+.4g}, "
            f"{trend['high']:+.4g}] with each message, p {trend['p']:.3g}; MDE {trend['mde']:.4g}"
        )
    return result | {"sentences": lines}


def fatigue_table(result: dict[str, Any]) -> pl.DataFrame:
    """The effects as a table, one row per outcome and message."""
    names = ("n", "effect", "low", "high", "p", "p_adjusted")
    rows = [
        {"outcome": outcome} | {name: float(cell[name]) for name in names}
        for outcome, part in result["outcomes"].items()
        for cell in part["messages"]
    ]
    return pl.DataFrame(rows, schema={"outcome": pl.String} | dict.fromkeys(names, pl.Float64))
