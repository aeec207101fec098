"""LightGBM on the columns of a request and an offer."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from propensity.atomic import whole_file
from propensity.baseline.tree_text import check_trees
from propensity.catalogue.sample import Sample
from propensity.data.catalogue import CatalogueConfig
from propensity.errors import ConfigurationError, DamageError

FILE, DIGEST = "trees.txt", "trees.json"
PATIENCE = 20  # trees without an improvement after which the model is complete


@dataclass
class PairTrees:
    """Log-odds of a purchase by gradient-boosted trees."""

    booster: Any  # lightgbm.Booster

    @property
    def length(self) -> int:
        """Number of trees."""
        return int(self.booster.current_iteration())

    @classmethod
    def fit(
        cls, sample: Sample, config: CatalogueConfig, seed: int, length: int | None = None, later: Any = None
    ) -> Self:
        """Fit to importance-weighted pairs.

        Parameters
        ----------
        sample : Sample
            P pairs.
        config : CatalogueConfig
            Settings of LightGBM.
        seed : int
            Of the sampled columns and rows.
        length : int, optional
            Number of trees; default `config.trees`.
        later : Sample, optional
            Pairs whose log loss ends the training.

        Raises
        ------
        ConfigurationError
            If LightGBM is not installed.
        """
        try:
            import lightgbm
        except ImportError:
            raise ConfigurationError(
                "champion=lightgbm needs LightGBM; pip install 'propensity[gbdt]' or use champion=network"
            ) from None
        params = {
            "objective": "binary", "learning_rate": config.learning_rate, "num_leaves": config.num_leaves,
            "min_child_samples": max(min(config.min_child_samples, len(sample.bought) // 20), 1),
            "colsample_bytree": 0.6, "subsample": 0.8, "subsample_freq": 1, "max_bin": 127, "seed": seed,
            "num_threads": 1, "verbose": -1, "deterministic": True, "force_row_wise": True,
        }  # fmt: skip
        data = lightgbm.Dataset(
            sample.x, sample.bought.astype(float), weight=sample.weight, params={"max_bin": 127, "verbose": -1}
        )
        sets: dict[str, Any] = {}
        callbacks: list[Any] = []
        if later is not None:
            sets = {
                "valid_sets": [data.create_valid(later.x, later.bought.astype(float), weight=later.weight)],
                "valid_names": ["validation"],
            }
            callbacks = [lightgbm.early_stopping(PATIENCE, verbose=False)]
        booster = lightgbm.train(params, data, length or config.trees, callbacks=callbacks, **sets)
        if later is not None and booster.best_iteration > 0:
            booster = lightgbm.Booster(model_str=booster.model_to_string(num_iteration=booster.best_iteration))
        return cls(booster)

    def logit(self, x: np.ndarray) -> np.ndarray:
        """Log-odds (P,) float64 of rows (P, F)."""
        return np.asarray(self.booster.predict(x, raw_score=True, num_threads=1), np.float64)

    def save(self, folder: Path) -> None:
        """Write the trees as LightGBM text, and their digest."""
        text = self.booster.model_to_string()
        for name, content in ((FILE, text), (DIGEST, json.dumps({"sha256": _digest(text)}))):
            with whole_file(folder / name) as draft:
                draft.write_text(content)

    @classmethod
    def load(cls, folder: Path, width: int) -> Self:
        """Read what `save` wrote for `width` columns; DamageError if it is damaged."""
        path = folder / FILE
        try:
            text = path.read_text()
            if json.loads((folder / DIGEST).read_text())["sha256"] != _digest(text):
                raise ValueError("it has another digest")
            check_trees(text, width)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamageError(f"{path} is damaged ({error}); train again") from None
        import lightgbm

        return cls(lightgbm.Booster(model_str=text))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
