"""Likelihoods and forecasts of buy-till-you-die models, for each customer alone.

A customer with `x` orders after the first one, the last of them `t_x` weeks after the first, is observed for `T` weeks.
He buys at a rate of his own until he drops out. Parameters are arrays of float64 in the order of the functions'
docstrings. Likelihoods are in log space: x may be 100,000.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

TINY = 1e-300
TERMS = 2_000  # of a continued fraction; 0.999 needs 600
NODES, WEIGHTS = (np.ascontiguousarray(array) for array in np.polynomial.legendre.leggauss(16))


@njit(cache=True, nogil=True)
def log_hyp2f1_unit(b: float, c: float, z: float) -> float:
    """Logarithm of the hypergeometric function F(1, b; c; z) for c > b > 0 and 0 <= z < 1.

    Gauss's continued fraction by the modified method of Lentz. All terms of the series are positive, so that the
    logarithm exists; the fraction converges where the series would take 1 / (1 - z) terms.
    """
    if z <= 0.0:
        return 0.0
    value, numerator, denominator = 1.0, 1.0, 0.0
    for n in range(1, TERMS):
        m = n // 2
        if n % 2:
            step = -(b + m) * (c - 1.0 + m) / ((c - 1.0 + 2 * m) * (c + 2 * m)) * z
        else:
            step = -m * (c - b + m - 1.0) / ((c - 2.0 + 2 * m) * (c - 1.0 + 2 * m)) * z
        denominator = 1.0 + step * denominator
        denominator = 1.0 / (denominator if abs(denominator) > TINY else TINY)
        numerator = 1.0 + step / numerator
        numerator = numerator if abs(numerator) > TINY else TINY
        change = numerator * denominator
        value *= change
        if abs(change - 1.0) < 1e-13:
            break
    return -math.log(value)


@njit(cache=True, nogil=True)
def log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    high, low = (a, b) if a > b else (b, a)
    return high if low == -np.inf else high + math.log1p(math.exp(low - high))


@njit(cache=True, nogil=True)
def _log_dead_part(r: float, alpha: float, s: float, beta: float, x: float, t: float) -> float:
    """Logarithm of the integral over t' > t of (alpha + t')^-(r + x) (beta + t')^-(s + 1).

    It is F(1, b; r + s + x + 1; z) / (r + s + x), times powers of the smaller and the larger of alpha + t and beta + t.
    """
    total = r + s + x
    if alpha >= beta:
        ratio = (alpha - beta) / (alpha + t)
        power = -(r + x) * math.log(alpha + t) - s * math.log(beta + t)
        return power + log_hyp2f1_unit(r + x, total + 1.0, ratio) - math.log(total)
    ratio = (beta - alpha) / (beta + t)
    power = -(s + 1.0) * math.log(beta + t) - (r + x - 1.0) * math.log(alpha + t)
    return power + log_hyp2f1_unit(s + 1.0, total + 1.0, ratio) - math.log(total)


@njit(cache=True, nogil=True)
def _pareto_nbd_parts(
    r: float, alpha: float, s: float, beta: float, x: float, t_x: float, t_end: float
) -> tuple[float, float]:
    """Logarithms of the likelihood with the customer alive at `t_end`, and with a drop-out since `t_x`."""
    common = math.lgamma(r + x) - math.lgamma(r) + r * math.log(alpha)
    alive = common - (r + x) * math.log(alpha + t_end) + s * (math.log(beta) - math.log(beta + t_end))
    if t_end <= t_x:
        return alive, -np.inf
    since = _log_dead_part(r, alpha, s, beta, x, t_x)
    later = _log_dead_part(r, alpha, s, beta, x, t_end)
    gap = later - since
    if gap >= -1e-9:  # the two integrals agree to the last digits; the interval is short
        middle = 0.5 * (t_x + t_end)
        dead = math.log(t_end - t_x) - (r + x) * math.log(alpha + middle) - (s + 1.0) * math.log(beta + middle)
    else:
        dead = since + math.log(-math.expm1(gap))
    return alive, common + math.log(s) + s * math.log(beta) + dead


@njit(cache=True, nogil=True)
def pareto_nbd_log_likelihood(parameters: np.ndarray, x: np.ndarray, t_x: np.ndarray, t_end: np.ndarray) -> np.ndarray:
    """Log likelihood of Pareto/NBD for each customer, with r, alpha, s, beta: (4,), (N,) x 3 -> (N,)."""
    r, alpha, s, beta = parameters
    result = np.empty(x.size)
    for n in range(x.size):
        alive, dead = _pareto_nbd_parts(r, alpha, s, beta, x[n], t_x[n], t_end[n])
        result[n] = log_add(alive, dead)
    return result


@njit(cache=True, nogil=True)
def pareto_nbd_alive(parameters: np.ndarray, x: np.ndarray, t_x: np.ndarray, t_end: np.ndarray) -> np.ndarray:
    """Probability of Pareto/NBD that a customer has not dropped out: (4,), (N,) x 3 -> (N,)."""
    r, alpha, s, beta = parameters
    result = np.empty(x.size)
    for n in range(x.size):
        alive, dead = _pareto_nbd_parts(r, alpha, s, beta, x[n], t_x[n], t_end[n])
        result[n] = math.exp(alive - log_add(alive, dead))
    return result


@njit(cache=True, nogil=True)
def pareto_nbd_forecast(
    parameters: np.ndarray, x: np.ndarray, t_x: np.ndarray, t_end: np.ndarray, weeks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Probability of an order, and expected orders, in the next weeks: (4,), (N,) x 3, ascending (W,) -> (N, W) x 2.

    The probability of no order is that of a drop-out before the first one, integrated over the time of the drop-out
    with 16 nodes between two values of `weeks`, plus that of a customer who is there to the end and does not order.
    """
    r, alpha, s, beta = parameters
    active, orders = np.empty((x.size, weeks.size)), np.empty((x.size, weeks.size))
    alive = pareto_nbd_alive(parameters, x, t_x, t_end)
    for n in range(x.size):
        shape, rate, clock = r + x[n], alpha + t_end[n], beta + t_end[n]
        silent, before = 0.0, 0.0
        for w in range(weeks.size):
            t = weeks[w]
            # the density of the first order is integrated where it lies: in equal steps of the logarithm
            low, high = math.log1p(before / rate * shape), math.log1p(t / rate * shape)
            half = 0.5 * (high - low)
            for k in range(NODES.size):
                u = math.exp(low + half * (1.0 + NODES[k]))
                time = (u - 1.0) * rate / shape
                # exp(log density of the drop-out + log probability of no order until then)
                value = s * (math.log(clock) - math.log(clock + time)) - math.log(clock + time)
                value += shape * (math.log(rate) - math.log(rate + time))
                silent += half * WEIGHTS[k] * math.exp(value) * s * u * rate / shape
            before = t
            stays = s * (math.log(clock) - math.log(clock + t)) + shape * (math.log(rate) - math.log(rate + t))
            active[n, w] = alive[n] * max(0.0, 1.0 - math.exp(stays) - silent)
            if abs(s - 1.0) < 1e-9:
                weeks_alive = clock * math.log1p(t / clock)
            else:
                weeks_alive = clock / (s - 1.0) * -math.expm1((s - 1.0) * -math.log1p(t / clock))
            orders[n, w] = alive[n] * shape / rate * weeks_alive
    return active, orders


@njit(cache=True, nogil=True)
def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


@njit(cache=True, nogil=True)
def _bg_nbd_parts(
    r: float, alpha: float, a: float, b: float, x: float, t_x: float, t_end: float, modified: bool
) -> tuple[float, float]:
    """Logarithms of the likelihood with the customer alive at the end, and with a drop-out at the last order.

    BG/NBD lets a customer drop out after an order but the first; the modified model (MBG/NBD) after any order.
    """
    common = math.lgamma(r + x) - math.lgamma(r) + r * math.log(alpha) - _log_beta(a, b)
    trials = x + 1.0 if modified else x
    alive = common + _log_beta(a, b + trials) - (r + x) * math.log(alpha + t_end)
    if trials < 1.0:
        return alive, -np.inf
    dead = common + _log_beta(a + 1.0, b + trials - 1.0) - (r + x) * math.log(alpha + t_x)
    return alive, dead


@njit(cache=True, nogil=True)
def bg_nbd_log_likelihood(
    parameters: np.ndarray, x: np.ndarray, t_x: np.ndarray, t_end: np.ndarray, modified: bool
) -> np.ndarray:
    """Log likelihood of BG/NBD or, modified, of MBG/NBD, with r, alpha, a, b: (4,), (N,) x 3 -> (N,)."""
    r, alpha, a, b = parameters
    result = np.empty(x.size)
    for n in range(x.size):
        alive, dead = _bg_nbd_parts(r, alpha, a, b, x[n], t_x[n], t_end[n], modified)
        result[n] = log_add(alive, dead)
    return result


@njit(cache=True, nogil=True)
def bg_nbd_alive(
    parameters: np.ndarray, x: np.ndarray, t_x: np.ndarray, t_end: np.ndarray, modified: bool
) -> np.ndarray:
    """Probability of BG/NBD or MBG/NBD that a customer has not dropped out: (4,), (N,) x 3 -> (N,)."""
    r, alpha, a, b = parameters
    result = np.empty(x.size)
    for n in range(x.size):
        alive, dead = _bg_nbd_parts(r, alpha, a, b, x[n], t_x[n], t_end[n], modified)
        result[n] = math.exp(alive - log_add(alive, dead))
    return result


@njit(cache=True, nogil=True)
def bg_nbd_forecast(
    parameters: np.ndarray, x: np.ndarray, t_x: np.ndarray, t_end: np.ndarray, modified: bool, weeks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Probability of an order, and expected orders, in the next weeks: (4,), (N,) x 3, ascending (W,) -> (N, W) x 2.

    A living customer of rate g orders at the rate g and drops out after an order with probability p: expected orders
    are E[(1 - exp(-g p t)) / p]. The gamma distribution of g leaves an integral over p, which is taken with 16 nodes
    over t: E[g exp(-g p t')] integrated over t' has the closed form of a hypergeometric function in t'.
    """
    r, alpha, a, b = parameters
    active, orders = np.empty((x.size, weeks.size)), np.empty((x.size, weeks.size))
    alive = bg_nbd_alive(parameters, x, t_x, t_end, modified)
    for n in range(x.size):
        shape, rate = r + x[n], alpha + t_end[n]
        trials = x[n] + 1.0 if modified else x[n]
        total, before = 0.0, 0.0
        for w in range(weeks.size):
            half = 0.5 * (weeks[w] - before)
            for k in range(NODES.size):
                t = before + half * (1.0 + NODES[k])
                total += half * WEIGHTS[k] * _living_rate(shape, rate, a, b + trials, t)
            before = weeks[w]
            active[n, w] = alive[n] * -math.expm1(shape * -math.log1p(before / rate))
            orders[n, w] = alive[n] * total
    return active, orders


@njit(cache=True, nogil=True)
def _living_rate(shape: float, rate: float, a: float, b: float, t: float) -> float:
    """E[g exp(-g p t)] for g ~ gamma(shape, rate) and p ~ beta(a, b): orders a week, t weeks after the cutoff.

    It is shape / rate * F(shape + 1, a; a + b; -t / rate), with the argument moved to [0, 1) by Pfaff's rule, which
    makes all terms of the series positive.
    """
    z = t / (rate + t)
    term, value, scale = 1.0, 1.0, 0.0
    for n in range(1_000_000):
        term *= (shape + 1.0 + n) * (b + n) / ((a + b + n) * (n + 1.0)) * z
        value += term
        if term < 1e-12 * value:
            break
        if value > 1e200:  # a customer with thousands of orders
            term, value, scale = term * 1e-200, value * 1e-200, scale + 200.0 * math.log(10.0)
    return shape / rate * math.exp(math.log(value) + scale - (shape + 1.0) * math.log1p(t / rate))


@njit(cache=True, nogil=True)
def gamma_gamma_log_likelihood(parameters: np.ndarray, orders: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Log likelihood of the mean amount of a customer's orders, with p, q, gamma: (3,), (N,) x 2 -> (N,)."""
    p, q, gamma = parameters
    result = np.empty(orders.size)
    for n in range(orders.size):
        x, z = orders[n], mean[n]
        shape = p * x
        value = math.lgamma(shape + q) - math.lgamma(shape) - math.lgamma(q) + q * math.log(gamma)
        value += (shape - 1.0) * math.log(z) + shape * math.log(x)
        result[n] = value - (shape + q) * math.log(gamma + x * z)
    return result
