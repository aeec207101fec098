"""The doubly robust effect of something that nobody drew at random, to show beside its placebo; never a verdict.

Source: Robins, Rotnitzky and Zhao, JASA 1994 (augmented inverse propensity weighting).
"""

from __future__ import annotations

import numpy as np

from propensity.ab.learner import fit_ridge

LOWEST, ROUNDS, PENALTY = 0.02, 25, 1.0  # smallest propensity, Newton steps, ridge penalty


def propensity(x: np.ndarray, treated: np.ndarray) -> np.ndarray:
    """Probability (n,) of treatment given covariates (n, C), by ridge logistic regression, in [.02, .98].

    Examples
    --------
    >>> x = np.array([[-1.0], [-1.0], [1.0], [1.0]])
    >>> propensity(x, np.array([False, True, False, True])).round(3).tolist()
    [0.5, 0.5, 0.5, 0.5]
    """
    design = np.column_stack([np.ones(len(x)), x])
    penalty = np.diag([1e-6] + [PENALTY] * x.shape[1])
    beta = np.zeros(design.shape[1])
    for _ in range(ROUNDS):
        p = 1 / (1 + np.exp(-np.clip(design @ beta, -30, 30)))
        gradient = design.T @ (treated - p) - penalty @ beta
        step = np.linalg.solve((design * (p * (1 - p))[:, None]).T @ design + penalty, gradient)
        beta += step
        if np.abs(step).max() < 1e-8:
            break
    return np.clip(1 / (1 + np.exp(-np.clip(design @ beta, -30, 30))), LOWEST, 1 - LOWEST)


def doubly_robust(y: np.ndarray, x: np.ndarray, treated: np.ndarray) -> float:
    """Difference that treatment makes to the mean of y (n,), if covariates x (n, C) explain who was treated."""
    p, one = propensity(x, treated), np.ones(y.size)
    with_t, without = (fit_ridge(x[mask], y[mask], one[mask])(x) for mask in (treated, ~treated))
    of_treated = np.average((y - with_t)[treated], weights=1 / p[treated])  # Hajek's weights, which sum to 1
    of_others = np.average((y - without)[~treated], weights=1 / (1 - p[~treated]))
    return float((with_t - without).mean() + of_treated - of_others)
