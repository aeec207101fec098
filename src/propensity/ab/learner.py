"""S-, T-, X- and DR-learners of the effect of a treatment, cross-fitted: nobody is scored by a model that saw them.

Source: Künzel et al., PNAS 2019 (S, T, X); Kennedy, Electronic Journal of Statistics 2023 (DR).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from propensity.errors import ConfigurationError

LEARNERS = ("s", "t", "x", "dr")
HEAD = "head"  # the network head, with the treatment as an input of its state
ALL_LEARNERS = (*LEARNERS, HEAD)
OF_MESSAGES = ("x", "dr")
REGRESSORS = ("ard", "blend", "gcv", "lightgbm", "ridge")
TREES: dict[str, Any] = {
    "objective": "regression",
    "learning_rate": 0.08,
    "num_leaves": 6,
    "max_bin": 63,
    "lambda_l2": 10.0,
    "verbose": -1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
}
ROUNDS, LEAF_SHARE = 40, 0.02
RIDGE, BLOCK = 1.0, 65_536
FEWEST_EARLIER = 10  # rows of an arm in the earlier folds below which no model of them is fitted
STEPS, TOLERANCE, LEAST = 50, 0.01, 1e-4  # of `fit_ard`: updates, and a variance that is left out, in standard errors
PENALTIES = np.logspace(-5, 1, 19)  # of the ridge regression by cross-validation, for each row
Predict = Callable[[np.ndarray], np.ndarray]
Regressor = Callable[[np.ndarray, np.ndarray, np.ndarray], Predict]


class Arms(NamedTuple):
    """Covariates x (n, C), outcomes y (n,), treatment t (n,) bool, weights w (n,) of one treatment and the control."""

    x: np.ndarray
    y: np.ndarray
    t: np.ndarray
    w: np.ndarray

    def rows(self, mask: np.ndarray) -> Arms:
        """Some of the customers."""
        return Arms(*(each[mask] for each in self))


def regressor(name: str, seed: int) -> Regressor:
    """A function from covariates, outcomes and weights to a prediction.

    Raises
    ------
    ConfigurationError
        For another name, or without the library.
    """
    if name == "ridge":
        return fit_ridge
    if name == "gcv":
        return fit_gcv
    if name == "ard":
        return fit_ard
    if name not in REGRESSORS:
        raise ConfigurationError(f"regressor={name} does not exist; choose one of {', '.join(REGRESSORS)}")
    try:
        import lightgbm
    except ImportError:
        raise ConfigurationError(
            "LightGBM is not installed; pip install 'propensity[gbdt]', or regressor=ridge"
        ) from None
    trees = partial(_fit_trees, lightgbm, seed)
    return trees if name == "lightgbm" else partial(_fit_blend, trees)


def _fit_blend(trees: Regressor, x: np.ndarray, y: np.ndarray, w: np.ndarray) -> Predict:
    """The mean of ridge regression and trees: effects are small, and the mean varies less than either."""
    line, forest = fit_ridge(x, y, w), trees(x, y, w)
    return lambda rows: (line(rows) + forest(rows)) / 2.0


def fit_ridge(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> Predict:
    """Weighted ridge regression with an intercept that is not penalised."""
    gram, moment = np.diag([0.0] + [RIDGE] * x.shape[1]), np.zeros(x.shape[1] + 1)
    for start in range(0, y.size, BLOCK):  # so that memory holds one copy of x
        part = slice(start, start + BLOCK)
        design = np.column_stack([np.ones(y[part].size), x[part]])
        scaled = design * w[part, None]
        gram += scaled.T @ design
        moment += scaled.T @ y[part]
    coefficient = np.linalg.lstsq(gram, moment, rcond=None)[0]
    return lambda rows: np.asarray(coefficient[0] + rows @ coefficient[1:])


class Moments(NamedTuple):
    """Weighted moments of n rows, with weights of mean 1.

    Attributes
    ----------
    centre, mean : np.ndarray, float
        Means of the covariates (C,) and of the outcome.
    gram, moment : np.ndarray
        (C, C) and (C,) sums of products of centred covariates, and of these and the centred outcome.
    total : float
        Sum of squares of the centred outcome.
    """

    centre: np.ndarray
    mean: float
    gram: np.ndarray
    moment: np.ndarray
    total: float
    n: int

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray, w: np.ndarray) -> Moments:
        """Of covariates x (n, C), outcomes y (n,) and weights w (n,), block by block."""
        w, n = w / w.mean(), y.size
        centre, mean = w @ x / n, float(w @ y) / n
        gram, moment = np.zeros((x.shape[1], x.shape[1])), np.zeros(x.shape[1])
        for start in range(0, n, BLOCK):
            part = slice(start, start + BLOCK)
            centred = x[part] - centre
            scaled = centred * w[part, None]
            gram += scaled.T @ centred
            moment += scaled.T @ (y[part] - mean)
        return cls(centre, mean, gram, moment, float(w @ (y - mean) ** 2), n)

    def predict(self, coefficient: np.ndarray) -> Predict:
        """The regression with coefficients (C,)."""
        return lambda rows: np.asarray(self.mean + (rows - self.centre) @ coefficient)


def fit_gcv(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> Predict:
    """Ridge regression whose penalty is chosen by generalised cross-validation.

    Effects vary less than outcomes do, so a regression of effects needs a larger penalty than one of outcomes.

    Notes
    -----
    Golub, Heath and Wahba, Technometrics 1979.
    """
    known = Moments.of(x, y, w)
    size, axes = np.linalg.eigh(known.gram)
    size, along = np.maximum(size, 0.0), axes.T @ known.moment
    best = (np.inf, PENALTIES[-1] * known.n)
    for penalty in PENALTIES * known.n:
        shrunk = along / (size + penalty)
        residual = known.total - 2 * float(shrunk @ along) + float(size @ shrunk**2)
        freedom = 1 + float(np.sum(size / (size + penalty)))
        best = min(best, (residual / (1 - min(freedom / known.n, 0.99)) ** 2, penalty))
    return known.predict(axes @ (along / (size + best[1])))


def fit_ard(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> Predict:
    """Bayesian ridge regression with one prior variance for each coefficient: automatic relevance determination.

    Few covariates say whom a message moves. The variances are those that make the data most likely, so that a
    covariate that the data do not show is left out, and others are hardly shrunken.

    Notes
    -----
    MacKay, Neural Computation 1992; Tipping, JMLR 2001. Units of covariates and of the outcome change nothing.
    """
    known = Moments.of(x, y, w)
    coefficient, size = np.zeros(x.shape[1]), np.diag(known.gram).copy()
    live = np.flatnonzero(size > 1e-10 * known.n)
    if not live.size or known.total <= 0:
        return known.predict(coefficient)
    noise = known.total / known.n
    variance = 1e-3 * known.total / (size[live] * live.size)
    for _ in range(STEPS):
        gram = known.gram[np.ix_(live, live)]
        root = np.sqrt(variance)  # the covariance is root (root gram root / noise + 1)^-1 root
        inverse = np.linalg.inv(root[:, None] * gram * root / noise + np.eye(live.size))
        mean = root * (inverse @ (root * known.moment[live])) / noise
        freedom = np.clip(1 - np.diag(inverse), 1e-12, 1.0)
        residual = known.total - 2 * float(mean @ known.moment[live]) + float(mean @ gram @ mean)
        noise = max(residual, 1e-12 * known.total) / max(known.n - 1 - float(freedom.sum()), 1.0)
        new = mean**2 / freedom
        ended = bool(np.all(np.abs(new - variance) * size[live] <= TOLERANCE * np.max(new * size[live])))
        coefficient[:] = 0.0
        coefficient[live] = mean
        own = new * size[live] > LEAST * noise
        live, variance = live[own], new[own]
        if ended or not live.size:
            break
    return known.predict(coefficient)


def _fit_trees(lightgbm: Any, seed: int, x: np.ndarray, y: np.ndarray, w: np.ndarray) -> Predict:
    if not x.shape[1] or np.ptp(y) == 0:
        mean = float(np.average(y, weights=w))
        return lambda rows: np.full(len(rows), mean)
    scale = float(np.std(y))  # LightGBM has absolute thresholds: another currency must not change the trees
    parameters = TREES | {"seed": seed, "min_child_samples": max(5, round(LEAF_SHARE * y.size))}
    data = lightgbm.Dataset(x, y / scale, weight=w, params={"verbose": -1, "max_bin": TREES["max_bin"]})
    model = lightgbm.train(parameters, data, num_boost_round=ROUNDS)
    return lambda rows: scale * np.asarray(model.predict(rows, num_threads=1))


def folds(customer: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Fold of each customer (n,), random and of equal size.

    The fold follows from the place of the id among the sorted ids, so that the order of rows changes nothing.
    """
    fold = np.empty(customer.size, dtype=np.int64)
    rank = np.random.default_rng(seed).permutation(customer.size)
    fold[np.argsort(customer, kind="stable")] = rank % count
    return fold


def folds_of(customer: np.ndarray, unit: np.ndarray | None, count: int, seed: int) -> np.ndarray:
    """Fold of each row (n,); rows of a customer, whose `unit` (n,) they share, are in one fold."""
    if unit is None:
        return folds(customer, count, seed)
    return folds(np.arange(int(unit.max()) + 1), count, seed)[unit]


class Others(NamedTuple):
    """Rows that are scored beside the experiment: covariates x (m, C), and the fold (m,) whose models score each."""

    x: np.ndarray
    fold: np.ndarray


class CrossFitted(NamedTuple):
    """Uplift by learner of the experiment's rows (n,), of the others (m,), and by models of earlier folds only (n,).

    `earlier` is NaN in the first fold, and in those before which an arm has fewer than `FEWEST_EARLIER` rows.
    """

    own: dict[str, np.ndarray]
    others: dict[str, np.ndarray]
    earlier: dict[str, np.ndarray]


def uplift(
    arms: Arms, fold: np.ndarray, learners: Sequence[str], fit: Regressor, seed: int = 17
) -> dict[str, np.ndarray]:
    """Cross-fitted uplift of every customer by each learner.

    Parameters
    ----------
    arms : Arms
        n customers of one treatment and the control.
    fold : np.ndarray
        (n,) fold of each customer.
    learners : sequence of str
        Of `ALL_LEARNERS`.
    fit : Regressor
        What all learners but the head are made of.
    seed : int
        Of the head.

    Returns
    -------
    dict
        learner -> (n,) uplift in the unit of the outcome.
    """
    none = Others(np.zeros((0, arms.x.shape[1])), np.zeros(0, np.int64))
    return cross_fitted(arms, fold, learners, fit, none, seed).own


def cross_fitted(
    arms: Arms, fold: np.ndarray, learners: Sequence[str], fit: Regressor, others: Others, seed: int = 17
) -> CrossFitted:
    """The same, the uplift of further rows by the models that did not see their fold, and that of earlier folds."""
    own = {name: np.empty(fold.size) for name in learners}
    further = {name: np.empty(others.fold.size) for name in learners}
    earlier = {name: np.full(fold.size, np.nan) for name in learners}
    for k in np.unique(fold):
        train, rows, place = arms.rows(fold != k), arms.x[fold == k], others.fold == k
        half = _half(fold[fold != k])
        for name in learners:
            model = effect_model(name, train, half, fit, seed)
            own[name][fold == k] = model(rows)
            if place.any():
                further[name][place] = model(others.x[place])
        before = fold < k
        if np.bincount(arms.t[before], minlength=2).min() < FEWEST_EARLIER:
            continue
        train, half = arms.rows(before), _half(fold[before])
        for name in learners:
            earlier[name][fold == k] = effect_model(name, train, half, fit, seed)(rows)
    return CrossFitted(own, further, earlier)


def _half(fold: np.ndarray) -> np.ndarray:
    """About half of the rows (n,) bool, by whole folds where there are several."""
    half = fold % 2 == 0
    if half.all() or not half.any():  # of two or three folds
        half = np.searchsorted(np.unique(fold), fold) % 2 == 0
    return np.arange(fold.size) % 2 == 0 if half.all() else half


def effect_model(name: str, train: Arms, half: np.ndarray, fit: Regressor, seed: int = 17) -> Predict:
    """A fitted learner."""
    if name == HEAD:
        from propensity.ab.head import fit_head

        return fit_head(train.x, train.y, train.t, train.w, seed).uplift
    if name == "s":
        return _s_learner(train, fit)
    if name == "t":
        return _t_learner(train, fit)
    return _x_learner(train, fit) if name == "x" else _dr_learner(train, half, fit)


def _s_learner(train: Arms, fit: Regressor) -> Predict:
    """One model with the treatment, and its products with the covariates, as columns."""
    model = fit(_with_treatment(train.x, train.t.astype(np.float64)), train.y, train.w)

    def predict(rows: np.ndarray) -> np.ndarray:
        parts = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
        return np.concatenate(
            [
                model(_with_treatment(part, np.ones(len(part)))) - model(_with_treatment(part, np.zeros(len(part))))
                for part in parts
            ]
        )

    return predict


def _with_treatment(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    return np.column_stack([x, t, x * t[:, None]])


def _outcome_models(train: Arms, fit: Regressor) -> tuple[Predict, Predict]:
    """Models of the outcome with and without treatment."""
    one, two = (fit(*(each[mask] for each in (train.x, train.y, train.w))) for mask in (train.t, ~train.t))
    return one, two


def _t_learner(train: Arms, fit: Regressor) -> Predict:
    one, two = _outcome_models(train, fit)
    return lambda rows: one(rows) - two(rows)


def _x_learner(train: Arms, fit: Regressor) -> Predict:
    one, two = _outcome_models(train, fit)
    t, share = train.t, float(np.average(train.t, weights=train.w))
    of_treated = fit(train.x[t], train.y[t] - two(train.x[t]), train.w[t])
    of_control = fit(train.x[~t], one(train.x[~t]) - train.y[~t], train.w[~t])
    return lambda rows: share * of_control(rows) + (1 - share) * of_treated(rows)


def _dr_learner(train: Arms, half: np.ndarray, fit: Regressor) -> Predict:
    """Regression of doubly robust scores, whose outcome models saw the other half."""
    score, share = np.empty(train.y.size), float(np.average(train.t, weights=train.w))
    for own in (half, ~half):
        one, two = (model(train.x[own]) for model in _outcome_models(train.rows(~own), fit))
        t, y, w = train.t[own], train.y[own], train.w[own]
        residual = np.where(t, (y - one) / share, -(y - two) / (1 - share))
        score[own] = one - two + w * residual
    return fit(train.x, score, np.ones(score.size))
