"""LightGBM on the network's input columns: the strongest of the baselines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from propensity.atomic import whole_file
from propensity.baseline.amount import AmountCap, amount_caps, calibration, in_units, shrunk_factor
from propensity.baseline.candidate import CandidateOutputs, predict_blocks
from propensity.baseline.pair_table import (
    Columns,
    PairTable,
    rows_of,
    training_columns,
    training_table,
    usual_amount_of,
    usual_amount_of_rows,
    validation_table,
)
from propensity.baseline.storage import columns_from, damaged, read, read_json, write_json
from propensity.baseline.tree_text import check_trees
from propensity.errors import ConfigurationError
from propensity.scores import Scores
from propensity.task import CutoffData, TrainingSet, Validation

JSON, PURCHASE, AMOUNT = "lightgbm.json", "purchase.txt", "amount.txt"
CHOSEN = ("num_leaves", "min_child_samples", "last_cutoffs", "n_estimators", "amount_n_estimators")
LEAVES = (7, 15, 31, 63)  # that are compared, from the default in the direction that is better
FEW_CUTOFFS = 8  # the alternative to last_cutoffs
SEARCH_RATE, SEARCH_PATIENCE = 0.15, 8  # learning rate and early stopping while settings are compared
PATIENCE = 25  # trees without an improvement after which the model is complete
LONGEST = 1_000  # trees
BETTER = 5e-4  # share of the log loss by which another setting must be better than the one before
MIN_JUDGED = 100  # purchases of the validation windows that the length of the amount model needs
ODD = 1.1907  # times the unit: multiples of it are rarely half-way between two rounded values
POSITIVES_PER_TREE = 4  # without validation, at least so many purchases for each tree


class BuyerAmounts(NamedTuple):
    """Rows (K, C) of buyers, what they paid and what is usual for them (K,), in units, and their weights (K,)."""

    x: np.ndarray
    paid: np.ndarray
    usual: np.ndarray
    weight: np.ndarray

    def labelled(self, base: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Rows, amounts, weights and logs of the usual amounts times `base`, of those who paid anything."""
        paid = self.paid > 0
        return self.x[paid], self.paid[paid], self.weight[paid], np.log(base * self.usual[paid])


class AmountSize(NamedTuple):
    """Size of the amount model for some number of purchases."""

    num_leaves: int
    min_child_samples: int
    n_estimators: int  # without validation


@dataclass
class LightGBM:
    """Gradient-boosted trees: a binary model of the purchase and a gamma model of the buyer's amount.

    Parameters
    ----------
    last_cutoffs : int
        Number of the latest training cutoffs that pairs are sampled from.
    rows, search_rows, amount_rows : int
        About how many pairs the purchase model is fitted on at most, how many settings are compared on, and how many
        purchases the amount model is fitted on at most.
    n_estimators, num_leaves, learning_rate, min_child_samples, subsample, subsample_freq, colsample_bytree, reg_lambda,
    max_bin, num_threads
        Settings of LightGBM under its own names. `min_child_samples` is lowered to a twentieth of the rows on small
        data. More than one thread changes no tree. `n_estimators` holds without validation.
    search : bool
        Compare other leaves, rows of a leaf and training cutoffs by validation; otherwise it gives only the trees.
    launched : float
        Share of the offers of each block of customers that are shown as on the day of their launch, in [0, 1].
    name : str
        Name in tables and files.

    Attributes
    ----------
    chosen : dict
        num_leaves, min_child_samples, last_cutoffs, n_estimators, amount_n_estimators, and `amount_factor`, by which
        amounts are multiplied so that buyers of the validation windows spend what is expected.
    purchase_model, amount_model : lightgbm.Booster
        Log-odds of a purchase; log of the amount over the usual amount, see `pair_table.usual_amount`. There is no
        amount model without prices in the log, and the expected revenue is then 0.

    Notes
    -----
    Settings are compared with a larger learning rate on a part of the rows. Amounts above a cap are lowered to it
    before the fit, see `amount.amount_caps`.
    """

    last_cutoffs: int = 20
    rows: int = 500_000
    search_rows: int = 200_000
    amount_rows: int = 100_000
    n_estimators: int = 220
    num_leaves: int = 15
    learning_rate: float = 0.05
    min_child_samples: int = 600
    subsample: float = 0.8
    subsample_freq: int = 1
    colsample_bytree: float = 0.5
    reg_lambda: float = 10.0
    max_bin: int = 127
    amount_n_estimators: int = 100
    search: bool = True
    launched: float = 0.0
    num_threads: int = 1
    name: str = "lightgbm"
    chosen: dict[str, Any] = field(default_factory=dict, init=False)
    amount_scale: float = field(default=1.0, init=False)
    columns: Columns = field(default=Columns((), (), ()), init=False)
    purchase_model: Any = field(default=None, init=False, repr=False)
    amount_model: Any = field(default=None, init=False, repr=False)

    def fit(self, training_set: TrainingSet, seed: int, validation: Validation | None = None) -> None:
        """Chooses the settings by the validation pairs, or takes the defaults, and fits both models.

        Raises
        ------
        ConfigurationError
            If LightGBM is not installed, or nobody or everybody bought in the label windows.
        """
        table = self._table(training_set, self.last_cutoffs, seed)
        judged = validation_table(validation, seed=seed)
        self.chosen = self._defaults(table)
        if judged is not None and self.search:
            self.chosen |= self._search(table, judged, seed)
        used = self._train_table(table, seed)
        self.purchase_model = self._purchases(used, judged, seed)
        if judged is not None:
            self.chosen["n_estimators"] = self.purchase_model.current_iteration()
        self._fit_amounts(table, judged, seed)

    def refit(self, training_set: TrainingSet, seed: int) -> None:
        """Fits both models again, with the settings that `fit` chose."""
        table = self._table(training_set, self.chosen["last_cutoffs"], seed)
        self.purchase_model = self._purchases(self._train_table(table, seed), None, seed)
        self._fit_amounts(table, None, seed, self.chosen["amount_n_estimators"])

    def outputs(self, inputs: Any) -> CandidateOutputs:
        """Log-odds and amounts (B, M) of the inputs of B customers and M offers."""
        shape, x = inputs.pair.shape[:2], rows_of(inputs)
        logit = self.purchase_model.predict(x, raw_score=True, num_threads=self.num_threads).reshape(shape)
        if self.amount_model is None:
            return CandidateOutputs(logit, np.zeros(shape))
        usual = in_units(usual_amount_of(self.columns, inputs), self.columns.unit)
        relative = np.exp(self._raw_amount(x)).reshape(shape)
        return CandidateOutputs(logit, relative * usual * (self.amount_scale * self.columns.unit))

    def predict(self, cutoff_data: CutoffData) -> Scores:
        """Scores (N, M); expected revenue is the product of both models."""
        return predict_blocks(self, cutoff_data)

    def save(self, folder: str | Path) -> None:
        """Writes `lightgbm.json` and the models as LightGBM text."""
        folder, texts = Path(folder), {PURCHASE: self.purchase_model, AMOUNT: self.amount_model}
        hashes = {}
        for file, model in texts.items():
            if model is not None:
                text = model.model_to_string(num_iteration=-1)
                hashes[file] = hashlib.sha256(text.encode()).hexdigest()
                with whole_file(folder / file) as draft:
                    draft.write_text(text)
        state = {"name": self.name, "chosen": self.chosen, "amount_scale": self.amount_scale, "files": hashes}
        write_json(folder / JSON, state | {"columns": self.columns._asdict()})

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Reads what `save` wrote.

        Raises
        ------
        ConfigurationError
            If a file is missing, or LightGBM is not installed.
        IntegrityError
            If a file is damaged: it differs from its hash, or its trees are impossible.
        """
        path = Path(folder) / JSON
        state = read_json(path)
        model = read(path, lambda: cls._from(state, path))
        width = sum(map(len, model.columns[:3]))
        model.purchase_model = _read_booster(Path(folder) / PURCHASE, state, width)
        if AMOUNT in state["files"]:
            model.amount_model = _read_booster(Path(folder) / AMOUNT, state, width)
        return model

    @classmethod
    def _from(cls, state: dict[str, Any], path: Path) -> Self:
        model = cls(name=str(state["name"]))
        model.columns, model.amount_scale = columns_from(state["columns"]), float(state["amount_scale"])
        model.chosen = {name: int(state["chosen"][name]) for name in CHOSEN}
        model.chosen["amount_factor"] = float(state["chosen"]["amount_factor"])
        if not 0 < model.amount_scale < np.inf or not isinstance(state["files"], dict):
            raise damaged(path, "its scale or files are impossible")
        return model

    def _table(self, training_set: TrainingSet, last_cutoffs: int, seed: int) -> PairTable:
        """The sampled training pairs; sets the columns."""
        table = training_table(training_set, last_cutoffs, self.rows, seed, self.launched)
        self.columns = training_columns(training_set)
        return table._replace(x=rounded(table.x, self.columns))

    def _train_table(self, table: PairTable, seed: int) -> PairTable:
        """The pairs that the purchase model is fitted on."""
        return table.last(self.chosen["last_cutoffs"], self.rows, seed)

    def _defaults(self, table: PairTable) -> dict[str, Any]:
        """The settings without validation, smaller where there is little data."""
        return {
            "num_leaves": self.num_leaves,
            "min_child_samples": self.min_child_samples,
            "last_cutoffs": self.last_cutoffs,
            "n_estimators": int(np.clip(table.bought.sum() / POSITIVES_PER_TREE, 1, self.n_estimators)),
            "amount_n_estimators": self.amount_n_estimators,
            "amount_factor": 1.0,
        }

    def _search(self, table: PairTable, judged: PairTable, seed: int) -> dict[str, Any]:
        """The best leaves, then rows of a leaf, then training cutoffs: at most six fits."""
        lowest, best = np.inf, {name: self.chosen[name] for name in CHOSEN[:3]}

        def better(change: Mapping[str, int]) -> bool:
            nonlocal lowest, best
            loss = self._searched_loss(table, judged, {**best, **change}, seed)
            if loss >= lowest * (1 - BETTER):
                return False
            lowest, best = loss, {**best, **change}
            return True

        better({})
        larger = [{"num_leaves": leaves} for leaves in LEAVES if leaves > self.num_leaves]
        smaller = [{"num_leaves": leaves} for leaves in reversed(LEAVES) if leaves < self.num_leaves]
        if not _improve(better, larger) and len(table.bought) <= self.search_rows:
            _improve(better, smaller)  # on a part of the rows, fewer leaves look better than they are
        _improve(better, [{"min_child_samples": max(self.min_child_samples // 4, 1)}])
        if table.cutoff.max() >= FEW_CUTOFFS:
            _improve(better, [{"last_cutoffs": FEW_CUTOFFS}])
        return best

    def _searched_loss(self, table: PairTable, judged: PairTable, settings: Mapping[str, int], seed: int) -> float:
        """Lowest log loss of the validation pairs over the trees of one fit."""
        part = table.last(settings["last_cutoffs"], self.search_rows, seed)
        share = len(part.bought) / len(table.bought)
        fewer = {"min_child_samples": max(int(settings["min_child_samples"] * share), 1)}
        params = self._params("binary", {**settings, **fewer}, len(part.bought), seed)
        params["learning_rate"] = SEARCH_RATE
        data, valid = self._dataset(part.x, part.bought, part.weight), (judged.x, judged.bought, judged.weight)
        return float(_boosted(params, data, LONGEST, valid, SEARCH_PATIENCE).best_score["validation"]["binary_logloss"])

    def _purchases(self, table: PairTable, judged: PairTable | None, seed: int) -> Any:
        """The purchase model; with validation pairs its length follows from them."""
        params = self._params("binary", self.chosen, len(table.bought), seed)
        data = self._dataset(table.x, table.bought, table.weight)
        if judged is None:
            return _boosted(params, data, self.chosen["n_estimators"])
        return _shortest(_boosted(params, data, LONGEST, (judged.x, judged.bought, judged.weight), PATIENCE))

    def _fit_amounts(self, table: PairTable, judged: PairTable | None, seed: int, length: int | None = None) -> None:
        """The amount model, if anything was paid, and its factor; its length follows from validation if not given."""
        self.amount_model, self.amount_scale = None, 1.0
        bought = _buyers(table, self.amount_rows, seed)
        if not (bought.revenue > 0).any():
            return
        cap = amount_caps(bought.revenue, usual_amount_of_rows(self.columns, bought.x))
        train = self._buyer_amounts(bought, cap)
        base = calibration(train.paid, train.usual, train.weight)
        size = amount_size(int((train.paid > 0).sum()), self.amount_n_estimators)
        params = self._params("gamma", size._asdict(), int((train.paid > 0).sum()), seed)
        data = self._dataset(*train.labelled(base))
        later = None if judged is None else self._buyer_amounts(_buyers(judged, self.amount_rows, seed), cap)
        if later is None or (later.paid > 0).sum() < MIN_JUDGED:
            self.amount_model = _boosted(params, data, size.n_estimators if length is None else length)
        else:
            self.amount_model = _shortest(_boosted(params, data, LONGEST, later.labelled(base), PATIENCE))
        self.chosen["amount_n_estimators"] = self.amount_model.current_iteration()
        forecast = base * np.exp(self._raw_amount(train.x)) * train.usual
        self.amount_scale = base * calibration(train.paid, forecast, train.weight)
        if later is not None:
            expected = self.amount_scale * np.exp(self._raw_amount(later.x)) * later.usual
            self.chosen["amount_factor"] = shrunk_factor(later.paid, expected, later.weight)
        self.amount_scale *= self.chosen["amount_factor"]

    def _buyer_amounts(self, table: PairTable, cap: AmountCap) -> BuyerAmounts:
        """What buyers paid and what is usual for them, in units."""
        usual = usual_amount_of_rows(self.columns, table.x)
        paid = np.minimum(table.revenue, cap.of(usual)) / self.columns.unit
        return BuyerAmounts(table.x, np.maximum(paid, 0.0), in_units(usual, self.columns.unit), table.weight)

    def _raw_amount(self, x: np.ndarray) -> np.ndarray:
        """Log of the amount over the usual amount, up to a constant, of rows (K, C): (K,)."""
        return np.asarray(self.amount_model.predict(x, raw_score=True, num_threads=self.num_threads))

    def _params(self, objective: str, settings: Mapping[str, Any], rows: int, seed: int) -> dict[str, Any]:
        """Settings as `lightgbm.train` calls them."""
        return {
            "objective": objective,
            "num_leaves": settings["num_leaves"],
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": min(settings["min_child_samples"], max(rows // 20, 1)),
            "feature_fraction": self.colsample_bytree,
            "bagging_fraction": self.subsample,
            "bagging_freq": self.subsample_freq,
            "lambda_l2": self.reg_lambda,
            "max_bin": self.max_bin,
            "feature_pre_filter": False,
            "seed": seed,
            "deterministic": True,
            "force_col_wise": True,
            "num_threads": self.num_threads,
            "verbose": -1,
        }

    def _dataset(self, x: np.ndarray, y: np.ndarray, weight: np.ndarray, start: np.ndarray | None = None) -> Any:
        """Binned rows; `start` (K,) are raw scores that the trees add to."""
        params = {"verbose": -1, "max_bin": self.max_bin, "feature_pre_filter": False, "num_threads": self.num_threads}
        return _library().Dataset(x, y, weight=weight, init_score=start, feature_name=self.columns.names, params=params)


def rounded(x: np.ndarray, columns: Columns) -> np.ndarray:
    """Values with seven significant bits, amounts of money in units, so that no rounding error reaches the bins.

    Parameters
    ----------
    x : np.ndarray
        (K, C) float32 with NaN.
    columns : Columns
        Their names, which of them are money, and the unit.

    Returns
    -------
    np.ndarray
        (K, C) float32. Whole numbers up to 128 stay as they are.

    Notes
    -----
    The sums of amounts in another currency differ in their last bit, and trees grow differently where two equal values
    become two values. LightGBM splits half-way between two values, which is where the rounding changes, so that the
    trees fit values that are not rounded. Units are shifted by an odd factor, because multiples of a price often lie
    exactly half-way.

    Examples
    --------
    >>> rounded(np.array([[100.0, 301.0]], np.float32), Columns(("a", "b"), (), ()))
    array([[100., 300.]], dtype=float32)
    """
    scale = np.ones(x.shape[1])
    scale[list(columns.money)] = columns.unit * ODD
    result = x * (1 / scale).astype(np.float32)
    bits = result.view(np.uint32)
    bits += np.uint32(1 << 16)
    bits &= np.uint32(0xFFFE0000)
    return result * scale.astype(np.float32)


def amount_size(purchases: int, n_estimators: int) -> AmountSize:
    """Size of the amount model: fewer leaves and trees where there are few purchases.

    Parameters
    ----------
    purchases : int
        Number of purchases it is fitted on.
    n_estimators : int
        Trees where there are many.

    Examples
    --------
    >>> amount_size(500, 100), amount_size(50_000, 100)
    (AmountSize(num_leaves=4, min_child_samples=25, n_estimators=40),
     AmountSize(num_leaves=15, min_child_samples=200, n_estimators=100))
    """
    leaves = 4 if purchases < 1_000 else 7 if purchases < 5_000 else 15
    most = {4: 40, 7: 50, 15: LONGEST}[leaves]
    return AmountSize(leaves, int(np.clip(purchases // 20, 1, 200)), min(n_estimators, most))


def _improve(better: Callable[[dict[str, int]], bool], changes: Sequence[dict[str, int]]) -> bool:
    """Tries changes in turn until one is no improvement; whether the first was one."""
    improved = False
    for change in changes:
        if not better(change):
            break
        improved = True
    return improved


def _buyers(table: PairTable, rows: int, seed: int) -> PairTable:
    """The pairs with a purchase, or a random sample of so many of them."""
    place = np.flatnonzero(table.bought > 0)
    if place.size > rows:
        place = np.sort(np.random.default_rng(seed).choice(place, rows, replace=False))
    return PairTable(*(column[place] for column in table))


def _boosted(
    params: Mapping[str, Any],
    data: Any,
    n_estimators: int,
    valid: tuple[np.ndarray, ...] | None = None,
    patience: int = 0,
) -> Any:
    """A booster; with `valid` (rows, labels, weights, perhaps raw scores) it stops after so many trees in vain."""
    lightgbm = _library()
    if valid is None:
        return lightgbm.train(dict(params), data, num_boost_round=n_estimators)
    x, y, weight, *start = valid
    more = {"init_score": start[0]} if start else {}
    judged = lightgbm.Dataset(x, y, weight=weight, reference=data, params={"verbose": -1}, **more)
    stop = lightgbm.early_stopping(patience, verbose=False)
    rounds = {"num_boost_round": n_estimators, "valid_sets": [judged], "valid_names": ["validation"]}
    return lightgbm.train(dict(params), data, callbacks=[stop], **rounds)


def _shortest(booster: Any) -> Any:
    """The booster up to its best tree."""
    text = booster.model_to_string(num_iteration=max(booster.best_iteration, 1))
    return _library().Booster(model_str=text)


def _read_booster(path: Path, state: Mapping[str, Any], width: int) -> Any:
    """A booster from text whose hash and trees are right."""

    def booster() -> Any:
        text = path.read_text()
        if hashlib.sha256(text.encode()).hexdigest() != state["files"][path.name]:
            raise ValueError("it differs from its hash")
        check_trees(text, width)
        return text

    text, lightgbm = read(path, booster), _library()
    try:
        return lightgbm.Booster(model_str=text)
    except lightgbm.basic.LightGBMError as error:
        raise damaged(path, str(error).partition("\n")[0]) from None


def _library() -> Any:
    """LightGBM.

    Raises
    ------
    ConfigurationError
        If it is not installed.
    """
    try:
        import lightgbm
    except ModuleNotFoundError:
        raise ConfigurationError(
            "the baseline lightgbm needs LightGBM; pip install 'propensity[gbdt]' or name other baselines"
        ) from None
    return lightgbm
