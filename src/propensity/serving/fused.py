"""The network's pairs in one pass over prepared features: what its graph computes, without an array for every step.

B customers, M offers, P pair columns, R members, H hidden units. J = R H + 4 R linear readings of the scaled columns:
the first layer of every member, then explore, gate and the two of revenue.

Notable: the columns of most pairs are those of an offer never met, so the readings of such a row are known, and a pair
adds only the columns in which it differs. Only the second layer is a matrix product. Sums run in another order than in
the graph, so answers agree to rounding, not to the bit; opening a bundle holds them against the golden outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from propensity.serving import verify
from propensity.serving.session import session

GRAPH, WEIGHTS = "parts.onnx", "parts.npz"  # of a bundle whose network this can speak for
OF_CUSTOMERS = ("first_customer", "match", "visit", "value_customer")
OF_OFFERS = ("first_offer", "answer", "base", "of_season", "value_offer")
PARTS = (*OF_CUSTOMERS, *OF_OFFERS)
TILE = 1024  # pairs whose layers fit a core's own cache together
LOOSE = {"contract", "arcp", "nsz"}  # NaN stays NaN, and what rounding lost can be told
SUMS = LOOSE | {"reassoc"}


class Readings(NamedTuple):
    """Weights by pair column, ready for the kernel: see `readings`."""

    nothing: np.ndarray  # (P,) raw columns of an offer never met
    first: np.ndarray  # (J,) its readings
    level: np.ndarray  # (P,) its scaled columns
    mean: np.ndarray  # (P,)
    inverse: np.ndarray  # (P,) one over the deviation
    low: np.ndarray  # (P,) and high: the range met in training, scaled
    high: np.ndarray
    ranked: np.ndarray  # (P,) int64 row of `weight` that reads the rank, -1 for none
    rank: np.ndarray  # (P,) rank of `nothing`
    knot: np.ndarray  # (P, S) where each step of a rank begins, and slope: one over its width
    slope: np.ndarray
    step: float  # of a rank
    start: float  # the lowest rank
    flag: np.ndarray  # (P,) int64 row of `weight` that tells a missing value, -1 for none
    missing: np.ndarray  # (P,) 1 where the column of `nothing` is missing
    weight: np.ndarray  # (P + ranks + flags, J)
    second: np.ndarray  # (R, H, H), from the unit first
    bias: np.ndarray  # (R, H)
    gate: np.ndarray  # (R,) bias of the gate; +inf: habit alone speaks


def readings(weights: Mapping[str, np.ndarray], nothing: np.ndarray) -> Readings:
    """`weights` as an export writes them; nothing (P,) the raw row of an offer never met."""
    mean, deviation, flagged = (weights[name] for name in ("mean", "deviation", "flagged"))
    inverse = (1.0 / deviation).astype(np.float32)
    missing = np.isnan(nothing)
    logs = np.sign(nothing) * np.log1p(np.abs(nothing))
    low, high, columns = weights["low"], weights["high"], weights["ranked"]
    level = np.where(missing, 0.0, np.clip((logs - mean) * inverse, low, high)).astype(np.float32)
    knots, width = weights["knots"][:-1], np.diff(weights["knots"], axis=0)
    knot, slope = (np.zeros((nothing.size, len(knots)), np.float32) for _ in range(2))
    knot[columns] = knots.T
    slope[columns] = np.where(width > 0, 1.0 / np.maximum(width, np.float32(1e-12)), 0.0).T
    step, rank = 2.0 * float(weights["spread"]) / max(len(knots), 1), np.zeros(nothing.size, np.float32)
    passed = np.clip((nothing[columns, None] - knot[columns]) * slope[columns], 0.0, 1.0).sum(axis=1)
    rank[columns] = np.where(missing[columns], 0.0, passed * step - weights["spread"])
    ranked, flag = np.full(nothing.size, -1), np.full(nothing.size, -1)
    ranked[columns] = nothing.size + np.arange(columns.size)
    flag[flagged] = nothing.size + columns.size + np.arange(flagged.size)
    row = np.concatenate([level, rank[columns], missing[flagged].astype(np.float32)])
    first = (row.astype(np.float64) @ weights["weight"]).astype(np.float32)
    plain = (np.ascontiguousarray(weights[name]) for name in ("weight", "second", "bias", "gate"))
    scaling = level, mean, inverse, low, high, ranked, rank, knot, slope, step, -float(weights["spread"])
    return Readings(nothing.astype(np.float32), first, *scaling, flag, missing.astype(np.float32), *plain)


class Fused:
    """The network of a bundle: customers and offers by a graph, pairs by the kernel."""

    def __init__(self, folder: Path, nothing: np.ndarray) -> None:
        weights = verify.arrays(folder / WEIGHTS)
        self.sigma_max = float(weights["sigma_max"])
        self.readings = readings(weights, nothing)
        self.session = session(folder / GRAPH)

    def __call__(self, inputs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """Probability and expected revenue (B, M)."""
        found = verify.answer(self.session, inputs)
        shape, (members, units) = inputs["pair"].shape[:2], self.readings.bias.shape
        probability, revenue = np.empty(shape, np.float32), np.empty(shape, np.float32)
        step = max(TILE // max(shape[1], 1), 1)
        hidden, second = (np.empty((members, step * shape[1], units), np.float32) for _ in range(2))
        rest = np.empty((step * shape[1], 4 * members), np.float32)
        first_offer, answer, base, season, value_offer = (found[name] for name in OF_OFFERS)
        for start in range(0, shape[0], step):
            own = slice(start, start + step)
            first_customer, match, visit, value_customer = (found[name][own] for name in OF_CUSTOMERS)
            first_layer(inputs["pair"][own], self.readings, first_customer, first_offer, hidden, rest)
            used = inputs["pair"][own].shape[0] * shape[1]
            np.matmul(hidden[:, :used], self.readings.second, out=second[:, :used])
            agree(
                *(second, rest, self.readings, match, answer, base, season, visit, value_customer, value_offer),
                *(self.sigma_max, probability[own], revenue[own]),
            )
        return probability, revenue


@njit(cache=True, nogil=True)
def differing(row: np.ndarray, nothing: np.ndarray, column: np.ndarray, value: np.ndarray) -> int:
    """The columns in which a pair differs from one never met, and their values; their number."""
    count = 0
    for p in range(row.size):
        if row[p] != nothing[p] and not (np.isnan(row[p]) and np.isnan(nothing[p])):
            column[count] = p
            value[count] = row[p]
            count += 1
    return count


@njit(cache=True, nogil=True, fastmath=LOOSE)
def signed_logs(value: np.ndarray, count: int, one: np.ndarray, bits: np.ndarray, log: np.ndarray) -> None:
    """log(1 + |x|) with the sign of x, NaN where it is missing; `bits` are those of `one`.

    By cephes' polynomial for a mantissa, so that loops run over several values at once; what 1 + |x| rounds away is
    added back, so that small values keep their digits.
    """
    for k in range(count):
        one[k] = np.float32(1.0) + abs(value[k])
        log[k] = (abs(value[k]) - (one[k] - np.float32(1.0))) / one[k]
    for k in range(count):
        raw = bits[k] - np.int32(0x3F3504F3)
        log[k] += np.float32(raw >> np.int32(23)) * np.float32(0.6931471805599453)
        bits[k] = (raw & np.int32(0x007FFFFF)) + np.int32(0x3F3504F3)
    for k in range(count):
        x = one[k] - np.float32(1.0)
        z = x * x
        y = np.float32(7.0376836292e-2)
        y = y * x + np.float32(-1.1514610310e-1)
        y = y * x + np.float32(1.1676998740e-1)
        y = y * x + np.float32(-1.2420140846e-1)
        y = y * x + np.float32(1.4249322787e-1)
        y = y * x + np.float32(-1.6668057665e-1)
        y = y * x + np.float32(2.0000714765e-1)
        y = y * x + np.float32(-2.4999993993e-1)
        y = y * x + np.float32(3.3333331174e-1)
        log[k] = np.copysign(log[k] + (x + (y * x * z - np.float32(0.5) * z)), value[k])


@njit(cache=True, nogil=True, fastmath=SUMS)
def add_rows(out: np.ndarray, weight: np.ndarray, row: np.ndarray, by: np.ndarray, count: int) -> None:
    """out (J,) plus `by` times the rows of weight (K, J), eight rows at a time."""
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
    weights: Readings,
    first_customer: np.ndarray,
    first_offer: np.ndarray,
    hidden: np.ndarray,
    rest: np.ndarray,
) -> None:
    """Fills hidden (R, B M, H), after ReLU, and rest (B M, 4 R), the other readings.

    pair (B, M, P); first_customer (B, R H), first_offer (M, R H): what either brings to the first layer.
    """
    wide, columns = first_offer.shape[1], weights.nothing.size
    column, value, one = np.empty(columns, np.int64), np.empty(columns, np.float32), np.empty(columns, np.float32)
    bits, log = one.view(np.int32), np.empty(columns, np.float32)
    row, by = np.empty(3 * columns, np.int64), np.empty(3 * columns, np.float32)
    reading, n = np.empty(weights.first.size, np.float32), 0
    for b in range(pair.shape[0]):
        for m in range(pair.shape[1]):
            count = differing(pair[b, m], weights.nothing, column, value)
            signed_logs(value, count, one, bits, log)
            rows = changes(column, value, log, count, weights, row, by)
            reading[:] = weights.first
            add_rows(reading, weights.weight, row, by, rows)
            for r in range(hidden.shape[0]):
                part = slice(r * hidden.shape[2], (r + 1) * hidden.shape[2])
                together(reading[part], first_customer[b, part], first_offer[m, part], hidden[r, n])
            rest[n] = reading[wide:]
            n += 1


@njit(cache=True, nogil=True, fastmath=SUMS)
def together(reading: np.ndarray, customer: np.ndarray, offer: np.ndarray, out: np.ndarray) -> None:
    for k in range(out.size):
        out[k] = max(reading[k] + customer[k] + offer[k], np.float32(0.0))


@njit(cache=True, nogil=True, fastmath=SUMS)
def spoken(hidden: np.ndarray, bias: np.ndarray, answer: np.ndarray) -> float:
    """The last layer of a habit: hidden (H,) of the second, before its bias and ReLU."""
    total = np.float32(0.0)
    for k in range(hidden.size):
        total += max(hidden[k] + bias[k], np.float32(0.0)) * answer[k]
    return float(total)


@njit(cache=True, nogil=True)
def agree(
    hidden: np.ndarray,
    rest: np.ndarray,
    weights: Readings,
    match: np.ndarray,
    answer: np.ndarray,
    base: np.ndarray,
    season: np.ndarray,
    visit: np.ndarray,
    value_customer: np.ndarray,
    value_offer: np.ndarray,
    sigma_max: float,
    probability: np.ndarray,
    revenue: np.ndarray,
) -> None:
    """Fills probability and expected revenue (B, M) from the second layer (R, B M, H) and the other readings.

    match (B, M, R), answer (M, R H), base and season (M, R), visit (B, R) logits, +inf for a network without,
    value_customer (B, 2 R), value_offer (M, 2 R).
    """
    members, units, n = hidden.shape[0], hidden.shape[2], 0
    for b in range(match.shape[0]):
        for m in range(match.shape[1]):
            logit, location, sigma = 0.0, 0.0, 0.0
            for r in range(members):
                opinion = spoken(hidden[r, n], weights.bias[r], answer[m, r * units : (r + 1) * units]) + base[m, r]
                if weights.gate[r] < np.inf:
                    share = logistic(rest[n, members + r] + weights.gate[r])
                    opinion = share * opinion + (1.0 - share) * (match[b, m, r] + rest[n, r])
                logit += within(visit[b, r], opinion + season[m, r])
                at = 2 * members + 2 * r
                location += rest[n, at] + value_customer[b, 2 * r] + value_offer[m, 2 * r]
                wild = logistic(rest[n, at + 1] + value_customer[b, 2 * r + 1] + value_offer[m, 2 * r + 1])
                sigma += 0.05 + (sigma_max - 0.05) * wild
            location, sigma = location / members, sigma / members
            chance = logistic(logit / members)
            probability[b, m] = chance
            revenue[b, m] = chance * np.exp(location + 0.5 * sigma * sigma)
            n += 1


@njit(cache=True, nogil=True)
def changes(
    column: np.ndarray,
    value: np.ndarray,
    log: np.ndarray,
    count: int,
    weights: Readings,
    row: np.ndarray,
    by: np.ndarray,
) -> int:
    """By how much each differing column, scaled, its rank and its flag differ from those of a pair never met."""
    rows = 0
    for k in range(count):
        p = column[k]
        missing = np.isnan(log[k])
        scaled = np.float32(0.0)
        if not missing:
            scaled = (log[k] - weights.mean[p]) * weights.inverse[p]
            scaled = min(max(scaled, weights.low[p]), weights.high[p])
        row[rows], by[rows] = p, scaled - weights.level[p]
        rows += 1
        if weights.ranked[p] >= 0:
            rank = 0.0 if missing else place(value[k], weights.knot[p], weights.slope[p]) * weights.step + weights.start
            row[rows], by[rows] = weights.ranked[p], np.float32(rank) - weights.rank[p]
            rows += 1
        if weights.flag[p] >= 0 and missing != (weights.missing[p] > 0):
            row[rows], by[rows] = weights.flag[p], np.float32(missing) - weights.missing[p]
            rows += 1
    return rows


@njit(cache=True, nogil=True, fastmath=SUMS)
def place(value: float, knot: np.ndarray, slope: np.ndarray) -> float:
    """How many steps of a distribution a value has passed, linearly within one."""
    passed = np.float32(0.0)
    for k in range(knot.size):
        passed += min(max((value - knot[k]) * slope[k], np.float32(0.0)), np.float32(1.0))
    return float(passed)


@njit(cache=True, nogil=True)
def logistic(x: float) -> float:
    return 1.0 / (1.0 + np.exp(-x))


@njit(cache=True, nogil=True)
def within(visit: float, given: float) -> float:
    """Logit of P(visit) P(offer | visit)."""
    if visit == np.inf:
        return given
    chance = min(1.0 / ((1.0 + np.exp(-visit)) * (1.0 + np.exp(-given))), np.exp(-1e-6))
    return np.log(chance / (1.0 - chance))
