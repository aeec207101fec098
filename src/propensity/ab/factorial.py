"""Factorial tests, such as save offers by depth, framing, channel and timing: their cells, and the best one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.ab.distribution import normal_p, normal_quantile
from propensity.ab.effect import ALPHA
from propensity.ab.table import Experiment
from propensity.errors import ConfigurationError, DataError

TREATMENT, BETWEEN, EQUALS = "treatment", " | ", "="
MOST_CELLS = 100
STEPS, DRAWS = 500, 4000
LEAST_NOISE = 1e-6  # of an estimate, as a share of the variance between cells
FEWEST_AMOUNTS = 30  # customers of a cell with an amount, and without one, below which it is not shrunken in two parts


def factorial_arms(factors: Mapping[str, Sequence[object]], arms: Mapping[str, float]) -> dict[str, float]:
    """Arms of a factorial test: the share of `treatment` is divided evenly among the cells.

    Parameters
    ----------
    factors : mapping of str to sequence
        Factor -> levels, two or more each; empty: no factorial test.
    arms : mapping of str to float
        Shares, of `treatment` and of the others, such as `holdout`.

    Returns
    -------
    dict of str to float
        Arm -> share; the same arms without factors.

    Raises
    ------
    ConfigurationError
        If a factor has one level, a level twice, or a name that cannot be read again; or there is no `treatment`.

    Examples
    --------
    >>> factorial_arms({"depth": [10, 20], "channel": ["mail"] + ["sms"]}, {"treatment": 0.8, "holdout": 0.2})
    ... # doctest: +NORMALIZE_WHITESPACE
    {'depth=10 | channel=mail': 0.2, 'depth=10 | channel=sms': 0.2, 'depth=20 | channel=mail': 0.2,
     'depth=20 | channel=sms': 0.2, 'holdout': 0.2}
    """
    if not factors:
        return dict(arms)
    if TREATMENT not in arms:
        raise ConfigurationError(f"factors divide the share of {TREATMENT!r}, which arms lack; name it, and a holdout")
    for name, levels in factors.items():
        texts = [str(level) for level in levels] if isinstance(levels, (list, tuple)) else []
        if len(texts) < 2 or len(set(texts)) < len(texts):
            raise ConfigurationError(f"factor {name} has the levels {levels}; give two or more, each once")
        if any(mark in text for mark in ("|", EQUALS) for text in (str(name), *texts)):
            raise ConfigurationError(f"factor {name}: names and levels may hold no | and no =; rename them")
    cells = [BETWEEN.join(f"{name}{EQUALS}{level}" for name, level in zip(factors, each, strict=True))
             for each in itertools.product(*factors.values())]  # fmt: skip
    if len(cells) > MOST_CELLS:
        raise ConfigurationError(f"factors have {len(cells)} cells, more than {MOST_CELLS}; drop a factor or a level")
    return dict.fromkeys(cells, arms[TREATMENT] / len(cells)) | {k: v for k, v in arms.items() if k != TREATMENT}


def levels_of(arm: str) -> dict[str, str] | None:
    """Factor -> level of a cell's name, None for another arm.

    Examples
    --------
    >>> levels_of("depth=10 | channel=mail"), levels_of("holdout")
    ({'depth': '10', 'channel': 'mail'}, None)
    """
    parts = [part.split(EQUALS) for part in arm.split(BETWEEN)]
    return {part[0]: part[1] for part in parts} if all(len(part) == 2 for part in parts) else None


def with_factors(table: pl.DataFrame, arms: pl.Series) -> pl.DataFrame:
    """The table of a split with a column for each factor, null outside the cells."""
    cells = {arm: levels for arm in arms.unique().to_list() if (levels := levels_of(arm)) is not None}
    names = list(dict.fromkeys(name for levels in cells.values() for name in levels))
    new = {
        name: [cells.get(arm, {}).get(name) for arm in arms.to_list()] for name in names if name not in table.columns
    }
    return table.with_columns(pl.Series(name, column, dtype=pl.String) for name, column in new.items())


def cells_of_columns(table: pl.DataFrame, arm: str, control: str, factors: Sequence[str]) -> pl.DataFrame:
    """The table whose arms are cells, named after the columns of the factors.

    Raises
    ------
    ConfigurationError
        If a column is not there.
    DataError
        If a level is missing outside the control.
    """
    for name in factors:
        if name not in table.columns:
            raise ConfigurationError(f"factors names {name!r}, and the table has {', '.join(table.columns)}")
    treated = pl.col(arm).cast(pl.String) != control if arm in table.columns else pl.lit(True)
    missing = table.filter(treated & pl.any_horizontal(pl.col(name).is_null() for name in factors)).height
    if missing:
        raise DataError(f"a factor is missing in {missing:,} rows outside {control!r}; write the level of each")
    parts = [pl.concat_str(pl.lit(f"{name}{EQUALS}"), pl.col(name).cast(pl.String)) for name in factors]
    cell = pl.concat_str(parts, separator=BETWEEN)
    return table.with_columns(pl.when(treated).then(cell).otherwise(pl.lit(control)).alias(arm))


class Cells(NamedTuple):
    """C cells of a factorial test and what was measured in them."""

    arms: list[str]
    levels: list[dict[str, str]]
    effect: np.ndarray  # (C,) difference to the control
    variance: np.ndarray  # (C,) of the mean of each cell
    control: float  # variance of the mean of the control, which all differences share
    parts: tuple[Part, ...] = ()  # share and amount, whose product is the effect and the mean of the control


class Part(NamedTuple):
    """An estimate of C cells: `value` (C,) and its `variance` (C,)."""

    value: np.ndarray
    variance: np.ndarray


class Shrunken(NamedTuple):
    """Posterior mean (C,), covariance (C, C) and draws (`DRAWS`, C) of cells; the deviation of each kind of term."""

    mean: np.ndarray
    covariance: np.ndarray
    draws: np.ndarray
    spread: dict[str, float]


def factorial(experiment: Experiment, weight: np.ndarray, alpha: float = ALPHA) -> dict[str, Any] | None:
    """Effects of cells and levels, and the best cell, by outcome.

    Parameters
    ----------
    experiment : Experiment
        A checked experiment.
    weight : np.ndarray
        (n,) inverse probabilities.
    alpha : float
        Of the intervals.

    Returns
    -------
    dict or None
        Outcome -> `{cells, levels, best, spread}`; None where the arms are no cells of the same factors.

    Notes
    -----
    Few cells are measured well by themselves, and the largest of many noisy means is too large. Cells are therefore
    shrunk: the effect of a cell is the sum of a mean, one term for each level, one for each pair of levels, and one of
    its own; the variance of each kind of term is estimated from the data, so that terms that the data do not show are
    small (empirical Bayes).

    An amount that is 0 for many customers is shrunken in two parts, the share of customers with an amount and the mean
    of these amounts, whose product is the mean of the cell (Cragg, Econometrica 1971). Offers that change the share do
    not need to be told apart by amounts, which vary much more.

    `best` has the highest shrunken effect, its probability
    of being the best cell, and the expected regret: the mean loss against the best cell, by draws from the posterior.
    """
    levels = [levels_of(arm) for arm in experiment.arms]
    named = [each for each in levels if each is not None]
    if len(named) < len(levels) or len(named) < 4 or len({tuple(each) for each in named}) > 1 or len(named[0]) < 2:
        return None
    return {
        name: cells_and_best(_cells(experiment, y, weight, named), alpha) for name, y in experiment.outcomes.items()
    }


def _cells(experiment: Experiment, y: np.ndarray, weight: np.ndarray, levels: list[dict[str, str]]) -> Cells:
    """Differences of the cells to the control, after regression on the covariates within cells."""
    mean, deviation = _means(experiment, _residual(experiment, y, weight), weight)
    variance = np.bincount(experiment.arm, deviation**2)
    effect, pooled = mean[1:] - mean[0], _pooled(experiment.arm, variance)
    some, size = np.bincount(experiment.arm, y != 0), np.bincount(experiment.arm)
    if np.minimum(some, size - some)[1:].min() < FEWEST_AMOUNTS or np.ptp(y[y != 0]) == 0:
        return Cells(experiment.arms, levels, effect, pooled, variance[0])
    share, of_share = _means(experiment, _residual(experiment, (y != 0).astype(np.float64), weight), weight)
    amount, arm = mean / share, experiment.arm
    of_amount = (deviation - amount[arm] * of_share) / share[arm]  # the delta method
    parts = [
        Part(value[1:], _pooled(arm, np.bincount(arm, each**2)))
        for value, each in ((share, of_share), (amount, of_amount))
    ]
    return Cells(experiment.arms, levels, effect, pooled, variance[0], tuple(parts))


def _means(experiment: Experiment, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of each arm, and what each row adds to it (n,), whose squares add up to its variance."""
    own = weight / np.bincount(experiment.arm, weight)[experiment.arm]
    mean = np.bincount(experiment.arm, own * y)
    return mean, own * (y - mean[experiment.arm])


def _pooled(arm: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Variances of the cells (C,): those of customers differ less between cells than their estimates do."""
    size = np.bincount(arm)[1:]
    unit = variance[1:] * size
    return np.asarray((0.5 * unit + 0.5 * np.average(unit, weights=size)) / size)


def _residual(experiment: Experiment, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The outcome less its regression on the covariates within arms, with the same slope in all."""
    x = experiment.x
    if not x.shape[1] or y.size < 20 * x.shape[1]:
        return y
    within_x, within_y = x.copy(), y.astype(np.float64)
    for code in np.unique(experiment.arm):
        mask = experiment.arm == code
        w = weight[mask] / weight[mask].sum()
        within_x[mask] -= w @ x[mask]
        within_y[mask] = y[mask] - w @ y[mask]
    scaled = within_x * weight[:, None]
    slope = np.linalg.lstsq(scaled.T @ within_x, scaled.T @ within_y, rcond=1e-10)[0]
    return np.asarray(y - (x - np.average(x, axis=0, weights=weight)) @ slope)


def cells_and_best(cells: Cells, alpha: float) -> dict[str, Any]:
    """Shrunken effects of the cells of an outcome, its levels, and the best cell; see `factorial`."""
    found = _shrunken(cells)
    best, top = int(found.mean.argmax()), found.draws.max(axis=1)
    half = normal_quantile(1 - alpha / 2)
    error = np.sqrt(np.maximum(np.diag(found.covariance), 0) + cells.control)
    listed = [
        {
            "cell": cells.arms[c],
            **cells.levels[c],
            "effect": float(cells.effect[c]),
            "error": math.sqrt(cells.variance[c] + cells.control),
            "shrunken": float(found.mean[c]),
            "low": float(found.mean[c] - half * error[c]),
            "high": float(found.mean[c] + half * error[c]),
            "probability_best": float((found.draws.argmax(axis=1) == c).mean()),
        }
        for c in np.argsort(-found.mean, kind="stable").tolist()
    ]
    regret = float((top - found.draws[:, best]).mean())
    return {
        "cells": listed,
        "levels": _levels(cells, alpha),
        "spread": found.spread,
        "best": listed[0] | {"expected_regret": regret, "relative_regret": regret / max(float(top.mean()), 1e-12)},
    }


def _shrunken(cells: Cells) -> Shrunken:
    """Posterior of the effects, by the product of the parts where there are parts."""
    if not cells.parts:
        return _posterior(Part(cells.effect, cells.variance), cells.levels)
    share, amount = (_posterior(part, cells.levels, seed) for seed, part in enumerate(cells.parts))
    control = cells.parts[0].value * cells.parts[1].value - cells.effect
    covariance = (
        np.outer(amount.mean, amount.mean) * share.covariance
        + np.outer(share.mean, share.mean) * amount.covariance
        + share.covariance * amount.covariance
    )
    spread = {f"{name}, {kind}": value for name, each in (("share", share), ("amount", amount))
              for kind, value in each.spread.items()}  # fmt: skip
    return Shrunken(share.mean * amount.mean - control, covariance, share.draws * amount.draws - control, spread)


def _levels(cells: Cells, alpha: float) -> dict[str, dict[str, dict[str, float]]]:
    """Mean effect of each level against the other levels of its factor, over all cells."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    half = normal_quantile(1 - alpha / 2)
    for factor in cells.levels[0]:
        own = np.array([levels[factor] for levels in cells.levels])
        found[factor] = {}
        for level in dict.fromkeys(own.tolist()):
            contrast = np.where(own == level, 1 / (own == level).sum(), -1 / (own != level).sum())
            effect, error = float(contrast @ cells.effect), math.sqrt(float(contrast**2 @ cells.variance))
            found[factor][level] = {
                "effect": effect,
                "low": effect - half * error,
                "high": effect + half * error,
                "p": normal_p(effect / error) if error > 0 else 1.0,
            }
    return found


def _kernels(levels: list[dict[str, str]]) -> tuple[list[str], list[np.ndarray]]:
    """Which cells share a term, by kind: each factor, all pairs of factors, and the cells themselves."""
    factors = list(levels[0])
    same = {f: np.array([[a[f] == b[f] for b in levels] for a in levels], dtype=np.float64) for f in factors}
    pairs = np.sum([same[f] * same[g] for f, g in itertools.combinations(factors, 2)], axis=0)
    kinds = {f: same[f] for f in factors} | {"pairs of levels": pairs}
    if len(factors) > 2:
        kinds["cells"] = np.eye(len(levels))
    return list(kinds), list(kinds.values())


def _variances(effect: np.ndarray, noise: np.ndarray, kinds: list[np.ndarray]) -> np.ndarray:
    """Variance of each kind of term: the posterior mode with a density that grows with the standard deviation.

    Notes
    -----
    A variance of a few levels is often estimated as 0, and intervals are then too short; the density avoids that (Chung
    et al., Psychometrika 2013). The MM algorithm is that of Zhou et al., Journal of Computational and Graphical
    Statistics 2019.
    """
    scale = np.full(len(kinds), max(float(effect.var()), 1e-12) / len(kinds))
    for _ in range(STEPS):
        projection, residual = _projection(effect, noise, kinds, scale)
        trace = np.array([max(float(np.sum(projection * k)), 1e-300) for k in kinds])
        square = np.array([max(float(residual @ k @ residual), 0.0) for k in kinds])
        new = (1 + np.sqrt(1 + 4 * trace * scale**2 * square)) / (2 * trace)
        if np.allclose(new, scale, rtol=1e-6, atol=1e-12 * max(float(effect.var()), 1e-12)):
            return new
        scale = new
    return scale


def _projection(
    effect: np.ndarray, noise: np.ndarray, kinds: list[np.ndarray], scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """P = V^-1 - V^-1 1 (1' V^-1 1)^-1 1' V^-1, and P effect."""
    inverse = np.linalg.inv(np.diag(noise) + sum(s * k for s, k in zip(scale, kinds, strict=True)))
    column = inverse.sum(axis=1)
    projection = inverse - np.outer(column, column) / column.sum()
    return projection, projection @ effect


def _posterior(part: Part, levels: list[dict[str, str]], seed: int = 0) -> Shrunken:
    """Cells given their estimates, with a flat prior on their mean."""
    names, kinds = _kernels(levels)
    variance = np.maximum(part.variance, LEAST_NOISE * part.value.var())  # amounts may be equal within each cell
    scale = _variances(part.value, variance, kinds)
    projection, residual = _projection(part.value, variance, kinds, scale)
    noise = np.diag(variance)
    mean, covariance = part.value - noise @ residual, noise - noise @ projection @ noise
    draws = np.random.default_rng(seed).multivariate_normal(mean, covariance, DRAWS, method="eigh")
    return Shrunken(mean, covariance, draws, {name: math.sqrt(each) for name, each in zip(names, scale, strict=True)})


def factorial_sentences(result: dict[str, Any]) -> list[str]:
    """The best cell of each outcome, in words."""
    return [
        f"{outcome}: best cell {part['best']['cell']}, {part['best']['shrunken']:+.4g} [{part['best']['low']:+.4g}, "
        f"{part['best']['high']:+.4g}] per customer after shrinkage; expected regret "
        f"{part['best']['expected_regret']:.3g} ({part['best']['relative_regret']:.1%}), best with probability "
        f"{part['best']['probability_best']:.0%}"
        for outcome, part in result.items()
    ]
