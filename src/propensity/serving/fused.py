"""Kernels that score pairs in one pass over the pair columns, without an array for every step of the network's graph.

Shapes: B customers, M offers, P pair columns, R members, H hidden units, K rows of a weight matrix, S steps of a rank.
J = R H + 4 R linear projections of the scaled pair columns: the first layer of every member's repeat expert, then R for
the explore expert, R for the gate, and 2 R for the revenue.

Notes
-----
Most pairs are never-bought and have the same pair columns. The projections of that row are computed once, with its
comparisons within the offer once for each offer, and each pair adds only the columns in which it differs. The second
layer is a matrix product. Sums have another order than in the graph, so results agree up to rounding; a bundle compares
them with the golden outputs when it is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numba import njit

from propensity.kernel.signed_log import FAST_WITH_NAN, signed_logs

FAST_SUMS = FAST_WITH_NAN | {"reassoc"}


class FusedWeights(NamedTuple):
    """Weights of the pair columns in the layout of the kernels.

    Attributes
    ----------
    never_bought : ndarray of shape (P,)
        Raw columns of a never-bought offer.
    projection : ndarray of shape (J,)
        Projections of `never_bought`.
    scaled : ndarray of shape (P,)
        Scaled columns of `never_bought`.
    factor : ndarray of shape (P,)
        What raw columns are multiplied by first: 1 over the unit for amounts.
    mean, inverse : ndarray of shape (P,)
        Mean of the logarithms, and one over their standard deviation.
    low, high : ndarray of shape (P,)
        Range of the scaled columns in training.
    rank_row : ndarray of shape (P,), int64
        Row of `weight` for the rank of a column; -1 for none.
    rank : ndarray of shape (P,)
        Ranks of `never_bought`.
    knot, slope : ndarray of shape (P, S)
        Start of each step of a rank, and one over its width.
    rank_step, rank_start : float
        Height of a step, and the lowest rank.
    missing_row : ndarray of shape (P,), int64
        Row of `weight` for the missing-value indicator of a column; -1 for none.
    missing : ndarray of shape (P,)
        1 where `never_bought` is missing.
    log : ndarray of shape (P,)
        Signed logarithms of `never_bought`; NaN where it is missing.
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

    never_bought: np.ndarray
    projection: np.ndarray
    scaled: np.ndarray
    factor: np.ndarray
    mean: np.ndarray
    inverse: np.ndarray
    low: np.ndarray
    high: np.ndarray
    rank_row: np.ndarray
    rank: np.ndarray
    knot: np.ndarray
    slope: np.ndarray
    rank_step: float
    rank_start: float
    missing_row: np.ndarray
    missing: np.ndarray
    log: np.ndarray
    compared_row: int
    compared_range: float
    weight: np.ndarray
    second: np.ndarray
    bias: np.ndarray
    gate: np.ndarray


def fused_weights(weights: Mapping[str, np.ndarray], never_bought: np.ndarray) -> FusedWeights:
    """Arrange exported weights for the kernels.

    Parameters
    ----------
    weights : mapping of str to ndarray
        Content of parts.npz, see `propensity.serving.graph.pair_weights`.
    never_bought : ndarray of shape (P,)
        Raw columns of a never-bought offer.

    Returns
    -------
    FusedWeights
        The weights, with the projections of `never_bought`.
    """
    mean, deviation, flagged = (weights[name] for name in ("mean", "deviation", "flagged"))
    inverse = (1.0 / deviation).astype(np.float32)
    missing = np.isnan(never_bought)
    factor = weights["factor"]
    in_units = (never_bought * factor).astype(np.float32)
    logs = np.sign(in_units) * np.log1p(np.abs(in_units))
    low, high, columns = weights["low"], weights["high"], weights["ranked"]
    scaled = np.where(missing, 0.0, np.clip((logs - mean) * inverse, low, high)).astype(np.float32)
    knots, width, size = weights["knots"][:-1], np.diff(weights["knots"], axis=0), never_bought.size
    knot, slope = (np.zeros((size, len(knots)), np.float32) for _ in range(2))
    knot[columns] = knots.T
    slope[columns] = np.where(width > 0, 1.0 / np.maximum(width, np.float32(1e-12)), 0.0).T
    step, rank = 2.0 * float(weights["spread"]) / max(len(knots), 1), np.zeros(size, np.float32)
    position = np.clip((in_units[columns, None] - knot[columns]) * slope[columns], 0.0, 1.0).sum(axis=1)
    rank[columns] = np.where(missing[columns], 0.0, position * step - weights["spread"])
    rank_row, missing_row = np.full(size, -1), np.full(size, -1)
    rank_row[columns] = size + np.arange(columns.size)
    missing_row[flagged] = size + columns.size + np.arange(flagged.size)
    row = np.concatenate([scaled, rank[columns], missing[flagged].astype(np.float32)])
    projection = (row.astype(np.float64) @ weights["weight"][: row.size]).astype(np.float32)
    compared_row = row.size if len(weights["weight"]) > row.size else -1
    return FusedWeights(
        *(never_bought.astype(np.float32), projection, scaled, factor, mean, inverse, low, high),
        *(rank_row, rank, knot, slope, step, -float(weights["spread"])),
        *(missing_row, missing.astype(np.float32)),
        logs.astype(np.float32),
        compared_row,
        float(weights.get("range", 1.0)),
        *(np.ascontiguousarray(weights[name]) for name in ("weight", "second", "bias", "gate")),
    )


class OfferBase(NamedTuple):
    """What the comparisons within the offer add to the pairs of each of M offers.

    Attributes
    ----------
    standardisation : ndarray of shape (M, 2, P)
        Mean and inverse standard deviation of the signed logarithms; (M, 2, 0) for a network without comparisons.
    compared : ndarray of shape (M, P)
        Comparisons of `never_bought`.
    projection : ndarray of shape (M, J)
        Projections of `never_bought` with its comparisons.
    """

    standardisation: np.ndarray
    compared: np.ndarray
    projection: np.ndarray


def offer_base(weights: FusedWeights, standardisation: np.ndarray) -> OfferBase:
    """Compare a never-bought pair within each offer.

    Parameters
    ----------
    weights : FusedWeights
        Weights of the pair columns.
    standardisation : ndarray of shape (M, 2, P)
        See `propensity.data.batch.Inputs`.

    Returns
    -------
    OfferBase
        For the kernels.
    """
    if weights.compared_row < 0:
        size = len(standardisation), weights.projection.size
        empty = np.zeros((size[0], 2, 0), np.float32)
        return OfferBase(empty, empty[:, 0], np.broadcast_to(weights.projection, size).copy())
    table = np.ascontiguousarray(standardisation, np.float32)
    z = np.nan_to_num(weights.log - table[:, 0]) * table[:, 1]
    compared = (z / np.sqrt(1 + (z / np.float32(weights.compared_range)) ** 2)).astype(np.float32)
    rows = weights.weight[weights.compared_row : weights.compared_row + compared.shape[1]]
    return OfferBase(table, compared, weights.projection + compared @ rows)


@njit(cache=True, nogil=True)
def changed_columns(
    row: np.ndarray, never_bought: np.ndarray, factor: np.ndarray, column: np.ndarray, value: np.ndarray
) -> int:
    """Find the columns in which a pair differs from a never-bought pair.

    Parameters
    ----------
    row, never_bought : ndarray of shape (P,)
        Raw columns.
    factor : ndarray of shape (P,)
        Factors of the columns.
    column, value : ndarray of shape (P,)
        Filled with the indices of the columns that differ, and their values times the factors.

    Returns
    -------
    int
        Number of columns that differ.
    """
    count = 0
    for p in range(row.size):
        if row[p] != never_bought[p] and not (np.isnan(row[p]) and np.isnan(never_bought[p])):
            column[count] = p
            value[count] = row[p] * factor[p]
            count += 1
    return count


@njit(cache=True, nogil=True, fastmath=FAST_SUMS)
def add_rows(out: np.ndarray, weight: np.ndarray, row: np.ndarray, by: np.ndarray, count: int) -> None:
    """Add multiples of rows of a matrix to a vector, eight rows at a time.

    Parameters
    ----------
    out : ndarray of shape (J,)
        Changed in place.
    weight : ndarray of shape (K, J)
        Matrix.
    row : ndarray of int
        Indices of the rows.
    by : ndarray
        Factor of each row.
    count : int
        Number of rows.
    """
    k = 0
    while k + 8 <= count:
        a, b, c, d = weight[row[k]], weight[row[k + 1]], weight[row[k + 2]], weight[row[k + 3]]
        e, f, g, h = weight[row[k + 4]], weight[row[k + 5]], weight[row[k + 6]], weight[row[k + 7]]
        a_, b_, c_, d_ = by[k], by[k + 1], by[k + 2], by[k + 3]
        e_, f_, g_, h_ = by[k + 4], by[k + 5], by[k + 6], by[k + 7]
        for j in range(out.size):
            out[j] += (a_ * a[j] + b_ * b[j] + c_ * c[j] + d_ * d[j]) + (e_ * e[j] + f_ * f[j] + g_ * g[j] + h_ * h[j])
        k += 8
    while k < count:
        a, a_ = weight[row[k]], by[k]
        for j in range(out.size):
            out[j] += a_ * a[j]
        k += 1


@njit(cache=True, nogil=True)
def first_layer(
    pair: np.ndarray,
    weights: FusedWeights,
    base: OfferBase,
    first_customer: np.ndarray,
    first_offer: np.ndarray,
    hidden: np.ndarray,
    other: np.ndarray,
) -> None:
    """Compute the first layer of every member, and the other projections.

    Parameters
    ----------
    pair : ndarray of shape (B, M, P)
        Raw pair columns.
    weights : FusedWeights
        Weights of the pair columns.
    base : OfferBase
        Comparisons within the M offers.
    first_customer, first_offer : ndarray of shape (B, R H) and (M, R H)
        Terms of the first layer that depend on the customer or the offer.
    hidden : ndarray of shape (R, B M, H)
        Filled with the first layer, after ReLU.
    other : ndarray of shape (B M, 4 R)
        Filled with the projections for explore, gate and revenue.
    """
    units, columns = first_offer.shape[1], weights.never_bought.size
    column, value, one = np.empty(columns, np.int64), np.empty(columns, np.float32), np.empty(columns, np.float32)
    bits, log = one.view(np.int32), np.empty(columns, np.float32)
    row, by = np.empty(4 * columns, np.int64), np.empty(4 * columns, np.float32)
    projection, n = np.empty(weights.projection.size, np.float32), 0
    for b in range(pair.shape[0]):
        for m in range(pair.shape[1]):
            count = changed_columns(pair[b, m], weights.never_bought, weights.factor, column, value)
            signed_logs(value, count, one, bits, log)
            rows = scaled_changes(column, value, log, count, weights, row, by)
            if weights.compared_row >= 0:
                rows = compared_changes(column, log, count, weights, base, m, row, by, rows)
            projection[:] = base.projection[m]
            add_rows(projection, weights.weight, row, by, rows)
            for r in range(hidden.shape[0]):
                part = slice(r * hidden.shape[2], (r + 1) * hidden.shape[2])
                add_and_rectify(projection[part], first_customer[b, part], first_offer[m, part], hidden[r, n])
            other[n] = projection[units:]
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


@njit(cache=True, nogil=True)
def scaled_changes(
    column: np.ndarray,
    value: np.ndarray,
    log: np.ndarray,
    count: int,
    weights: FusedWeights,
    row: np.ndarray,
    by: np.ndarray,
) -> int:
    """Differences of scaled columns, ranks and missing-value indicators from those of a never-bought pair.

    Parameters
    ----------
    column, value, log : ndarray of shape (P,)
        Indices, values times factors and signed logarithms of the columns that differ.
    count : int
        Number of columns that differ.
    weights : FusedWeights
        Scales and values of the never-bought pair.
    row, by : ndarray of shape (4 P,)
        Filled with rows of `weights.weight` and their factors.

    Returns
    -------
    int
        Number of rows.
    """
    rows = 0
    for k in range(count):
        p = column[k]
        missing = np.isnan(log[k])
        scaled = np.float32(0.0)
        if not missing:
            scaled = (log[k] - weights.mean[p]) * weights.inverse[p]
            scaled = min(max(scaled, weights.low[p]), weights.high[p])
        row[rows], by[rows] = p, scaled - weights.scaled[p]
        rows += 1
        if weights.rank_row[p] >= 0:
            rank = 0.0
            if not missing:
                position = rank_position(value[k], weights.knot[p], weights.slope[p])
                rank = position * weights.rank_step + weights.rank_start
            row[rows], by[rows] = weights.rank_row[p], np.float32(rank) - weights.rank[p]
            rows += 1
        if weights.missing_row[p] >= 0 and missing != (weights.missing[p] > 0):
            row[rows], by[rows] = weights.missing_row[p], np.float32(missing) - weights.missing[p]
            rows += 1
    return rows


@njit(cache=True, nogil=True)
def compared_changes(
    column: np.ndarray,
    log: np.ndarray,
    count: int,
    weights: FusedWeights,
    base: OfferBase,
    m: int,
    row: np.ndarray,
    by: np.ndarray,
    rows: int,
) -> int:
    """Differences of comparisons within an offer from those of a never-bought pair.

    Parameters
    ----------
    column, log : ndarray of shape (P,)
        Indices and signed logarithms of the columns that differ.
    count : int
        Number of columns that differ.
    weights : FusedWeights
        Weights of the pair columns.
    base : OfferBase
        Comparisons within the offers.
    m : int
        The offer.
    row, by : ndarray of shape (4 P,)
        Rows of `weights.weight` and their factors, from `rows` on filled with those of the comparisons.
    rows : int
        Number of rows before.

    Returns
    -------
    int
        Number of rows.
    """
    mean, inverse, compared = base.standardisation[m, 0], base.standardisation[m, 1], base.compared[m]
    flat = np.float32(1.0 / weights.compared_range**2)
    for k in range(count):
        p = column[k]
        if inverse[p] != 0.0:
            z = (log[k] - mean[p]) * inverse[p] if not np.isnan(log[k]) else np.float32(0.0)
            row[rows] = weights.compared_row + p
            by[rows] = z / np.sqrt(np.float32(1.0) + z * z * flat) - compared[p]
            rows += 1
    return rows


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
