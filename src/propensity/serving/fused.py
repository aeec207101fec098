"""Kernels that score pairs in one pass over the pair columns, without an array for every step of the network's graph.

Shapes: B customers, M offers, P pair columns, R members, H hidden units, K rows of a weight matrix, S steps of a rank.
J = R H + 4 R linear projections of the scaled pair columns: the first layer of every member's repeat expert, then R for
the explore expert, R for the gate, and 2 R for the revenue.

Notes
-----
Both layers are matrix products. Sums have another order than in the graph, so results agree up to rounding; a bundle
compares them with the golden outputs when it is opened. A division that may raise an exception keeps a loop from being
vectorised, so that loops with a division follow NumPy's error model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numba import njit

from propensity.kernel.signed_log import FAST_SUMS, signed_logs


class FusedWeights(NamedTuple):
    """Weights of the pair columns in the layout of the kernels.

    Attributes
    ----------
    factor : ndarray of shape (P,)
        What raw columns are multiplied by first: 1 over the unit for amounts.
    mean, inverse : ndarray of shape (P,)
        Mean of the logarithms, and one over their standard deviation.
    low, high : ndarray of shape (P,)
        Range of the scaled columns in training.
    ranked, flagged : ndarray of int64
        Columns that have a rank, and those that have a missing-value indicator.
    knot, slope : ndarray of shape (P, S)
        Start of each step of a rank, and one over its width.
    rank_step, rank_start : float
        Height of a step, and the lowest rank.
    compared_row : int
        First of the P rows of `weight` for comparisons within the offer; -1 for a network without them.
    compared_range : float
        Bound of the comparisons.
    weight : ndarray of shape (K, J)
        Rows for columns, ranks, missing-value indicators and comparisons within the offer.
    second : ndarray of shape (R, H, H)
        Second layers, input unit first.
    bias : ndarray of shape (R, H)
        Biases of the second layers.
    gate : ndarray of shape (R,)
        Biases of the gates; +inf for a member without an explore expert.
    """

    factor: np.ndarray
    mean: np.ndarray
    inverse: np.ndarray
    low: np.ndarray
    high: np.ndarray
    ranked: np.ndarray
    flagged: np.ndarray
    knot: np.ndarray
    slope: np.ndarray
    rank_step: float
    rank_start: float
    compared_row: int
    compared_range: float
    weight: np.ndarray
    second: np.ndarray
    bias: np.ndarray
    gate: np.ndarray


def fused_weights(weights: Mapping[str, np.ndarray]) -> FusedWeights:
    """Arrange exported weights for the kernels.

    Parameters
    ----------
    weights : mapping of str to ndarray
        Content of parts.npz, see `propensity.serving.graph.pair_weights`.

    Returns
    -------
    FusedWeights
        The weights.
    """
    columns, flagged = (weights[name].astype(np.int64) for name in ("ranked", "flagged"))
    knots, width, size = weights["knots"][:-1], np.diff(weights["knots"], axis=0), weights["mean"].size
    knot, slope = (np.zeros((size, len(knots)), np.float32) for _ in range(2))
    knot[columns] = knots.T
    slope[columns] = np.where(width > 0, 1.0 / np.maximum(width, np.float32(1e-12)), 0.0).T
    step, own = 2.0 * float(weights["spread"]) / max(len(knots), 1), size + columns.size + flagged.size
    second, bias, gate = (np.ascontiguousarray(weights[name]) for name in ("second", "bias", "gate"))
    return FusedWeights(
        factor=weights["factor"],
        mean=weights["mean"],
        inverse=(1.0 / weights["deviation"]).astype(np.float32),
        low=weights["low"],
        high=weights["high"],
        ranked=columns,
        flagged=flagged,
        knot=knot,
        slope=slope,
        rank_step=step,
        rank_start=-float(weights["spread"]),
        compared_row=own if len(weights["weight"]) > own else -1,
        compared_range=float(weights.get("range", 1.0)),
        weight=np.ascontiguousarray(weights["weight"]),
        second=second,
        bias=bias,
        gate=gate,
    )


@njit(cache=True, nogil=True)
def network_columns(pair: np.ndarray, weights: FusedWeights, standardisation: np.ndarray, out: np.ndarray) -> None:
    """Compute what the first layers read of the pair columns.

    Parameters
    ----------
    pair : ndarray of shape (B, M, P), float32
        Raw pair columns.
    weights : FusedWeights
        Scales of the columns.
    standardisation : ndarray of shape (M, 2, P)
        See `propensity.data.batch.Inputs`; not read for a network without comparisons.
    out : ndarray of shape (B M, K), float32
        Filled with scaled columns, ranks, missing-value indicators and comparisons within the offer.
    """
    columns, n = pair.shape[2], 0
    value, one, log = np.empty(columns, np.float32), np.empty(columns, np.float32), np.empty(columns, np.float32)
    bits, ranked, flagged = one.view(np.int32), weights.ranked, weights.flagged
    factor, mean, inverse, low, high = weights.factor, weights.mean, weights.inverse, weights.low, weights.high
    first_rank, first_flag, compared = columns, columns + ranked.size, weights.compared_row
    for b in range(pair.shape[0]):
        for m in range(pair.shape[1]):
            row, x = pair[b, m], out[n]
            for p in range(columns):
                value[p] = row[p] * factor[p]
            signed_logs(value, columns, one, bits, log)
            scale_row(log, mean, inverse, low, high, x)
            for c in range(ranked.size):
                p, rank = ranked[c], 0.0
                if not np.isnan(value[p]):
                    position = rank_position(value[p], weights.knot[p], weights.slope[p])
                    rank = position * weights.rank_step + weights.rank_start
                x[first_rank + c] = rank
            for c in range(flagged.size):
                x[first_flag + c] = np.isnan(value[flagged[c]])
            if compared >= 0:
                compare_row(log, standardisation[m, 0], standardisation[m, 1], weights.compared_range, x[compared:])
            n += 1


@njit(cache=True, nogil=True, fastmath=FAST_SUMS)
def scale_row(
    log: np.ndarray, mean: np.ndarray, inverse: np.ndarray, low: np.ndarray, high: np.ndarray, out: np.ndarray
) -> None:
    """Scaled columns of one pair from their signed logarithms, all (P,); 0 where they are missing."""
    for p in range(log.size):
        scaled = min(max((log[p] - mean[p]) * inverse[p], low[p]), high[p])
        out[p] = np.float32(0.0) if np.isnan(log[p]) else scaled


@njit(cache=True, nogil=True, fastmath=FAST_SUMS, error_model="numpy")
def compare_row(log: np.ndarray, mean: np.ndarray, inverse: np.ndarray, widest: float, out: np.ndarray) -> None:
    """Comparisons within the offer of one pair, bounded by `widest`, all (P,); 0 where a column is missing."""
    flat = np.float32(1.0 / widest**2)
    for p in range(log.size):
        z = np.float32(0.0) if np.isnan(log[p]) else (log[p] - mean[p]) * inverse[p]
        out[p] = z / np.sqrt(np.float32(1.0) + z * z * flat)


@njit(cache=True, nogil=True)
def first_layer(
    projection: np.ndarray,
    first_customer: np.ndarray,
    first_offer: np.ndarray,
    hidden: np.ndarray,
    other: np.ndarray,
) -> None:
    """Complete the first layer of every member, and separate the other projections.

    Parameters
    ----------
    projection : ndarray of shape (B M, J)
        Projections of the pair columns.
    first_customer, first_offer : ndarray of shape (B, R H) and (M, R H)
        Terms of the first layer that depend on the customer or the offer.
    hidden : ndarray of shape (R, B M, H)
        Filled with the first layer, after ReLU.
    other : ndarray of shape (B M, 4 R)
        Filled with the projections for explore, gate and revenue.
    """
    units, n = first_offer.shape[1], 0
    for b in range(first_customer.shape[0]):
        for m in range(first_offer.shape[0]):
            for r in range(hidden.shape[0]):
                part = slice(r * hidden.shape[2], (r + 1) * hidden.shape[2])
                add_and_rectify(projection[n, part], first_customer[b, part], first_offer[m, part], hidden[r, n])
            other[n] = projection[n, units:]
            n += 1


@njit(cache=True, nogil=True, fastmath=FAST_SUMS)
def add_and_rectify(pair: np.ndarray, customer: np.ndarray, offer: np.ndarray, out: np.ndarray) -> None:
    """ReLU of a sum.

    Parameters
    ----------
    pair, customer, offer : ndarray of shape (H,)
        Terms.
    out : ndarray of shape (H,)
        Filled with the result.
    """
    for k in range(out.size):
        out[k] = max(pair[k] + customer[k] + offer[k], np.float32(0.0))


@njit(cache=True, nogil=True, fastmath=FAST_SUMS)
def output_logit(hidden: np.ndarray, bias: np.ndarray, weight: np.ndarray) -> float:
    """Output of a repeat expert.

    Parameters
    ----------
    hidden : ndarray of shape (H,)
        Second layer, before bias and ReLU.
    bias : ndarray of shape (H,)
        Bias of the second layer.
    weight : ndarray of shape (H,)
        Output weights of the offer.

    Returns
    -------
    float
        Logit, before the output bias.
    """
    total = np.float32(0.0)
    for k in range(hidden.size):
        total += max(hidden[k] + bias[k], np.float32(0.0)) * weight[k]
    return float(total)


@njit(cache=True, nogil=True)
def combine_members(
    hidden: np.ndarray,
    other: np.ndarray,
    weights: FusedWeights,
    match: np.ndarray,
    output_weight: np.ndarray,
    output_bias: np.ndarray,
    season_logit: np.ndarray,
    visit: np.ndarray,
    value_customer: np.ndarray,
    value_offer: np.ndarray,
    sigma_max: float,
    unit: float,
    probability: np.ndarray,
    revenue: np.ndarray,
    logit: np.ndarray,
) -> None:
    """Compute probability, expected revenue and log-odds as means over the members.

    Parameters
    ----------
    hidden : ndarray of shape (R, B M, H)
        Second layers, before bias and ReLU.
    other : ndarray of shape (B M, 4 R)
        Projections for explore, gate and revenue.
    weights : FusedWeights
        Weights of the pair columns.
    match : ndarray of shape (B, M, R)
        Logits of the explore experts, without the term of the pair columns.
    output_weight : ndarray of shape (M, R H)
        Output weights of the repeat experts.
    output_bias, season_logit : ndarray of shape (M, R)
        Output biases of the repeat experts, and seasonal logits.
    visit : ndarray of shape (B, R)
        Logits of the visit experts; +inf for a network without.
    value_customer, value_offer : ndarray of shape (B, 2 R) and (M, 2 R)
        Terms of the revenue's location and scale.
    sigma_max : float
        Largest standard deviation of the log revenue.
    unit : float
        Revenue of one unit, in the log's currency.
    probability, revenue, logit : ndarray of shape (B, M)
        Filled with the results; revenue is in the log's currency.
    """
    members, units, n = hidden.shape[0], hidden.shape[2], 0
    for b in range(match.shape[0]):
        for m in range(match.shape[1]):
            mean_logit, location, sigma = 0.0, 0.0, 0.0
            for r in range(members):
                part = slice(r * units, (r + 1) * units)
                mixed = output_logit(hidden[r, n], weights.bias[r], output_weight[m, part]) + output_bias[m, r]
                if weights.gate[r] < np.inf:
                    gate = logistic(other[n, members + r] + weights.gate[r])
                    mixed = gate * mixed + (1.0 - gate) * (match[b, m, r] + other[n, r])
                mean_logit += joint_logit(visit[b, r], mixed + season_logit[m, r])
                k = 2 * members + 2 * r
                location += other[n, k] + value_customer[b, 2 * r] + value_offer[m, 2 * r]
                scale = logistic(other[n, k + 1] + value_customer[b, 2 * r + 1] + value_offer[m, 2 * r + 1])
                sigma += 0.05 + (sigma_max - 0.05) * scale
            location, sigma = location / members, sigma / members
            logit[b, m] = mean_logit / members
            p = logistic(mean_logit / members)
            probability[b, m] = p
            revenue[b, m] = p * np.exp(location + 0.5 * sigma * sigma) * unit
            n += 1


@njit(cache=True, nogil=True, fastmath=FAST_SUMS)
def rank_position(value: float, knot: np.ndarray, slope: np.ndarray) -> float:
    """Number of steps of an empirical distribution below a value, with linear interpolation.

    Parameters
    ----------
    value : float
        Value of a column times its factor.
    knot, slope : ndarray of shape (S,)
        Start of each step, and one over its width.

    Returns
    -------
    float
        In [0, S].
    """
    position = np.float32(0.0)
    for k in range(knot.size):
        position += min(max((value - knot[k]) * slope[k], np.float32(0.0)), np.float32(1.0))
    return float(position)


@njit(cache=True, nogil=True)
def logistic(x: float) -> float:
    """Logistic function.

    Parameters
    ----------
    x : float
        Logit.

    Returns
    -------
    float
        Probability.
    """
    return 1.0 / (1.0 + np.exp(-x))


@njit(cache=True, nogil=True)
def joint_logit(visit: float, logit: float) -> float:
    """Logit of P(visit) P(purchase | visit).

    Parameters
    ----------
    visit : float
        Logit of a visit; +inf for a network without a visit expert.
    logit : float
        Logit of a purchase given a visit.

    Returns
    -------
    float
        Logit of the product.
    """
    if visit == np.inf:
        return logit
    p = min(1.0 / ((1.0 + np.exp(-visit)) * (1.0 + np.exp(-logit))), np.exp(-1e-6))
    return np.log(p / (1.0 - p))
