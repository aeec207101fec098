"""The stack of the candidates: a weighted sum of their log-odds, and a weighted geometric mean of their amounts.

Legend: Q candidates, K pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from propensity.baseline.amount import amount_caps, in_units, shrunk_factor
from propensity.baseline.regression import Problem, Ridge, fit_logistic, log_losses, logistic
from propensity.champion.outcome import ValidationPairs

STRENGTH = 100.0  # of the ridge on weights: one standard deviation is 0.1
LEVEL = 3.0  # strength of the ridge on the level, in multiples of what the pairs know of it
AMOUNT_STRENGTH = 25.0  # the same for the weights of log amounts, in their residual variance
POWER = 0.1  # standard deviation of the power of the amounts that is expected before the data are seen
STEPS = 20  # of Newton's method for it
FOLDS = 3
SHARED = 0.01  # a share of the prior below it is 0
SETTLED = 1e-4  # a weight below it is 0


class SegmentWeights(NamedTuple):
    """How log-odds are combined: weight times log-odds, summed over the candidates, plus the intercept."""

    weight: tuple[float, ...]  # length Q, at least 0
    intercept: float

    def logit(self, logit: np.ndarray) -> np.ndarray:
        """Combined log-odds: (Q, ...) -> (...)."""
        combined = np.full(logit.shape[1:], self.intercept)
        for weight, each in zip(self.weight, logit, strict=True):
            if weight:
                combined += weight * each
        return combined


class AmountWeights(NamedTuple):
    """How amounts are combined: a power of the weighted geometric mean times a factor; all 0 without revenue."""

    weight: tuple[float, ...]  # length Q, at least 0; their sum is the power
    factor: float
    unit: float

    def amount(self, amount: np.ndarray) -> np.ndarray:
        """Combined amounts: (Q, ...) -> (...), in the log's currency."""
        if self.factor == 0:
            return np.zeros(amount.shape[1:])
        total = np.zeros(amount.shape[1:])
        for weight, each in zip(self.weight, amount, strict=True):
            if weight:
                total += weight * np.log(in_units(each, self.unit))
        return np.asarray(self.factor * self.unit * np.exp(total))


class Stack(NamedTuple):
    """Weights of the candidates, by whether the customer has bought the offer before.

    Attributes
    ----------
    names : tuple of str, length Q
        Candidates.
    past, never_bought : SegmentWeights
        Weights of the log-odds of pairs with and without an earlier purchase.
    amount : AmountWeights
        Weights of the amounts of all pairs.
    """

    names: tuple[str, ...]
    past: SegmentWeights
    never_bought: SegmentWeights
    amount: AmountWeights

    def logit(self, logit: np.ndarray, past: np.ndarray) -> np.ndarray:
        """Combined log-odds.

        Parameters
        ----------
        logit : np.ndarray
            (Q, ...) log-odds of the candidates.
        past : np.ndarray
            (...) bool, whether the customer has bought the offer before.

        Returns
        -------
        np.ndarray
            (...) float64.
        """
        return np.where(past, self.past.logit(logit), self.never_bought.logit(logit))


def single(names: tuple[str, ...], name: str, unit: float) -> Stack:
    """The stack that is one candidate.

    Examples
    --------
    >>> stack = single(("frequency", "network"), "network", 1.0)
    >>> stack.logit(np.array([[1.0], [2.0]]), np.array([True]))
    array([2.])
    """
    weight = tuple(float(each == name) for each in names)
    segment = SegmentWeights(weight, 0.0)
    return Stack(names, segment, segment, AmountWeights(weight, 1.0, unit))


def fit_stack(pairs: ValidationPairs, unit: float, amount_prior: str | None = None) -> Stack:
    """Weights that lower the log loss of the validation pairs, and weights of the amounts of their buyers.

    Parameters
    ----------
    pairs : ValidationPairs
        Log-odds and amounts of Q candidates.
    unit : float
        Revenue that counts as 1, in the log's currency.
    amount_prior : str or None
        The candidate whose amounts are used where there are few purchases; None: that with the best log amounts.

    Returns
    -------
    Stack
        The stack of one candidate is that candidate.

    Notes
    -----
    A ridge draws the weights of both segments to `prior_weights` of all pairs, so that few purchases give the mean of
    the candidates that they cannot tell apart. Each window has a level of its own, by season and chance, which all its
    pairs share and which more pairs do not average out. So a ridge keeps a quarter of the shift of the level that the
    validation pairs ask for. Log-odds are centred at the pairs that know the level, those near a purchase, so that no
    weight can make up for what the ridge holds back.
    Stacking: Wolpert, Neural Networks 1992; with weights of at least 0: Breiman, Machine Learning 1996.
    """
    shared = prior_weights(pairs)
    past = _fit_segment(pairs.only(pairs.past), shared)
    never_bought = _fit_segment(pairs.only(~pairs.past), shared)
    return Stack(pairs.names, past, never_bought, fit_amounts(pairs, unit, amount_prior))


def cross_fitted_logit(pairs: ValidationPairs, stack: Stack, seed: int) -> np.ndarray:
    """Log-odds of the stack in which no customer's own purchases chose the weights.

    Parameters
    ----------
    pairs : ValidationPairs
        K pairs.
    stack : Stack
        The stack of all of them; Newton's method starts from its weights.
    seed : int
        Of the division of the customers into three folds.

    Returns
    -------
    np.ndarray
        (K,)
    """
    shared = prior_weights(pairs)
    fold = np.random.default_rng(seed).permutation(np.arange(pairs.customer.max(initial=0) + 1) % FOLDS)[pairs.customer]
    combined = np.empty(pairs.bought.shape)
    for segment, weights in ((pairs.past, stack.past), (~pairs.past, stack.never_bought)):
        for out in range(FOLDS):
            fitted = _fit_segment(pairs.only(segment & (fold != out)), shared, weights)
            judged = segment & (fold == out)
            combined[judged] = fitted.logit(pairs.logit[:, judged])
    return combined


def prior_weights(pairs: ValidationPairs) -> np.ndarray:
    """Weights of sum 1 that candidates share whom the validation pairs cannot tell apart: (Q,).

    Notes
    -----
    A candidate whose log loss is z standard errors (over customers) above the lowest has a weight proportional to
    exp(-z^2 / 2). Where validation is short, the mean of the candidates is a safer forecast than any one of them.
    Source: Bates and Granger, The Combination of Forecasts, 1969.
    """
    losses = log_losses(pairs.logit, pairs.bought)
    by_customer = np.stack([np.bincount(pairs.customer, loss) for loss in losses])
    excess = by_customer - by_customer[int(np.argmin(by_customer.sum(axis=1)))]
    error = np.sqrt(((excess - excess.mean(axis=1, keepdims=True)) ** 2).sum(axis=1))
    z = np.where(error > 0, excess.sum(axis=1) / np.maximum(error, 1e-12), 0.0)
    weight = np.exp(-0.5 * z**2)
    weight[weight < SHARED] = 0.0
    return np.asarray(weight / weight.sum())


def _fit_segment(pairs: ValidationPairs, shared: np.ndarray, warm: SegmentWeights | None = None) -> SegmentWeights:
    """The weights of one segment; those of the prior (Q,) where nobody or everybody bought."""
    count, positives = len(pairs.names), int(pairs.bought.sum())
    if count == 1 or not 0 < positives < pairs.bought.size:
        return SegmentWeights(tuple(shared.tolist()), 0.0)
    chance = logistic(shared @ pairs.logit)
    known = (chance * (1 - chance)).astype(np.float64)  # what a pair knows of the level
    centre = pairs.logit @ known / known.sum()
    x = np.concatenate([pairs.logit - centre[:, None], np.ones((1, pairs.bought.size))]).T
    level = LEVEL * float(known.sum())
    prior, middle = np.append(shared, 0.0), float(centre @ shared)
    ridge = Ridge(np.append(np.full(count, STRENGTH), level), prior)
    start = prior if warm is None else np.append(warm.weight, warm.intercept - middle + centre @ warm.weight)
    problem = Problem(x, pairs.bought.astype(np.float64), np.ones(pairs.bought.size), np.array([middle]))
    fitted = fit_logistic(problem, ridge, start, bounded=count)
    weight = np.where(fitted[:-1] < SETTLED, 0.0, fitted[:-1])
    return SegmentWeights(tuple(weight.tolist()), float(fitted[-1] + middle - centre @ weight))


def fit_amounts(pairs: ValidationPairs, unit: float, prior: str | None = None) -> AmountWeights:
    """Weights of the log amounts of the candidates by the amounts of the validation buyers.

    Parameters
    ----------
    pairs : ValidationPairs
        Amounts of Q candidates.
    unit : float
        Revenue that counts as 1, in the log's currency.
    prior : str or None
        The candidate that a ridge draws the weights to; None: the one with the smallest squared error of log amounts.

    Returns
    -------
    AmountWeights
        Weights, whose sum is the power, and the factor that makes buyers spend what is expected; power and factor are
        shrunk to 1 where there are few. The factor is 0 where no candidate expects any amount.

    Notes
    -----
    The largest of many expected amounts are too large: they are those that are overestimated most. A campaign chooses
    among these, so the power draws all amounts together.
    """
    count, buyers = len(pairs.names), pairs.only(pairs.bought > 0)
    paid = buyers.revenue > 0
    if not (pairs.amount > 0).any():
        return AmountWeights(tuple(np.eye(count)[0].tolist()), 0.0, unit)
    logs = np.log(in_units(buyers.amount[:, paid], unit))
    reference = _reference(logs, buyers.revenue[paid], unit) if prior is None else pairs.names.index(prior)
    alone = np.eye(count)[reference]
    if not paid.any() or count == 1:
        return AmountWeights(tuple(alone.tolist()), 1.0, unit)
    cap = amount_caps(buyers.revenue, buyers.amount[reference])
    capped = np.minimum(buyers.revenue, cap.of(buyers.amount[reference]))
    weight = _simplex(logs, np.log(capped[paid] / unit), alone)
    mean = AmountWeights(tuple(weight.tolist()), 1.0, unit)
    power = shrunk_power(capped / unit, mean.amount(buyers.amount) / unit)
    weights = mean._replace(weight=tuple((power * weight).tolist()))
    expected = weights.amount(buyers.amount)
    return weights._replace(factor=shrunk_factor(capped / unit, expected / unit, np.ones(capped.size)))


def shrunk_power(paid: np.ndarray, expected: np.ndarray) -> float:
    """The power of expected amounts that meets what buyers paid at every size, shrunk to 1 where it is uncertain.

    Parameters
    ----------
    paid, expected : np.ndarray
        (K,) amounts of buyers, at least 0 and above 0.

    Returns
    -------
    float
        A power for `expected`, to be followed by a factor.

    Notes
    -----
    Poisson quasi-likelihood with a log link: the total and the total weighted by log amounts are met. The variance is
    robust. Two buyers have no residuals, and the power of a few is close to them by construction, so two K-ths of the
    variance of a power of 1 are added. Source: Santos Silva and Tenreyro, The Log of Gravity, 2006.

    Examples
    --------
    >>> expected = np.geomspace(0.1, 10, 1000)
    >>> round(shrunk_power(expected**0.8, expected), 2)
    0.8
    >>> shrunk_power(np.full(3, 2.0), np.ones(3))
    1.0
    """
    log = np.log(expected)
    x = np.stack([np.ones_like(log), log - np.average(log, weights=expected)])
    if paid.sum() <= 0 or not np.ptp(log) > 1e-6:
        return 1.0
    beta = first = np.array([np.log(paid.sum() / expected.sum()), 1.0])
    for _ in range(STEPS):
        mean = np.exp(beta @ x)
        step = np.linalg.solve((x * mean) @ x.T + 1e-9 * np.eye(2), x @ (paid - mean))
        beta = beta + np.clip(step, -0.5, 0.5)
    variance = _variance(x, paid, np.exp(beta @ x)) + _variance(x, paid, np.exp(first @ x)) * beta.size / paid.size
    return float(1.0 + (beta[1] - 1.0) * POWER**2 / (POWER**2 + variance)) if np.isfinite(beta).all() else 1.0


def _variance(x: np.ndarray, paid: np.ndarray, mean: np.ndarray) -> float:
    """Robust variance of the slope of a Poisson regression on (2, K) columns with these means (K,)."""
    inverse = np.linalg.inv((x * mean) @ x.T + 1e-9 * np.eye(2))
    return float((inverse @ (x * (paid - mean) ** 2) @ x.T @ inverse)[1, 1])


def _reference(logs: np.ndarray, revenue: np.ndarray, unit: float) -> int:
    """Place of the candidate whose log amounts (Q, K) are nearest to those paid, up to a constant."""
    if not revenue.size:
        return 0
    return int(np.argmin((np.log(revenue / unit) - logs).var(axis=1)))


def _simplex(logs: np.ndarray, target: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Weights of sum 1, at least 0, that predict the target (K,) up to a constant; the same log amounts twice get one.

    The ridge is relative to the variance of what is left over by the prior.
    """
    x, y = logs - logs.mean(axis=1, keepdims=True), target - target.mean()
    noise = max(float(((y - centre @ x) ** 2).mean()), 1e-12)
    gram, right = x @ x.T / noise, x @ y / noise
    gram, right = gram + AMOUNT_STRENGTH * np.eye(len(x)), right + AMOUNT_STRENGTH * centre
    best, lowest = centre, float(0.5 * centre @ gram @ centre - right @ centre)
    for support in _supports(x, centre):
        weight = np.zeros(len(x))
        system = np.block([[gram[np.ix_(support, support)], np.ones((len(support), 1))], [np.ones(len(support)), 0.0]])
        weight[support] = np.linalg.solve(system, np.append(right[support], 1.0))[:-1]
        value = float(0.5 * weight @ gram @ weight - right @ weight)
        if weight.min() >= 0 and value < lowest:
            best, lowest = weight, value
    return np.where(best < SETTLED, 0.0, best) / best[best >= SETTLED].sum()


def _supports(x: np.ndarray, centre: np.ndarray) -> Iterator[list[int]]:
    """All sets of candidates with different log amounts; of equal ones, that of the prior or else the first."""
    order = sorted(range(len(x)), key=lambda k: -centre[k])
    distinct = [k for place, k in enumerate(order) if not any(np.array_equal(x[k], x[j]) for j in order[:place])]
    for members in range(1, 2 ** len(distinct)):
        yield [k for place, k in enumerate(distinct) if members >> place & 1]
