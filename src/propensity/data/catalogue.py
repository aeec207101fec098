"""Settings of a run on requests: how offers are found, which pairs are learnt from, and the two learners."""

from __future__ import annotations

from dataclasses import dataclass

from propensity.errors import ConfigurationError


@dataclass(frozen=True)
class CatalogueConfig:
    """Settings of retrieval, sampling and learners.

    Parameters
    ----------
    popular : int
        Best sellers of the last 2, 7 and 28 days that are scored, this many of each.
    partners : int
        Offers that the same customers, and the same baskets, hold as the customer's own ones; this many of each.
    per_group : int
        Best sellers of each group of offers that the customer bought from.
    memory : int
        Last different offers, and groups, of the customer that partners and best sellers are looked up for.
    half_life : float
        Days in which the weight of a purchase halves for its partners.
    strongest : int
        Partners that are kept for each offer of the catalogue.
    negatives : int
        Never-bought negatives to learn from for each purchase, about; they are importance-weighted, so that
        probabilities stay calibrated.
    pairs : int
        Pairs to learn from, about, at most; a sample of the requests gives them.
    trees : int
        Trees of LightGBM at most; validation ends the training earlier.
    num_leaves, min_child_samples : int
        Settings of LightGBM under its own names.
    learning_rate : float
        Of LightGBM.
    hidden : tuple of int
        Units of the hidden layers of the network.
    members : int
        Networks with different seeds whose log-odds are averaged.
    epochs : int
        Passes of the network over the pairs.
    batch : int
        Pairs in a batch of the network.
    lr : float
        Largest learning rate of the network.
    dropout : float
        Share of the hidden units that are left out.
    weight_decay : float
        Of AdamW.
    validation : float
        Share of the requests, the last ones, that choose the served model.
    """

    popular: int = 100
    partners: int = 50
    per_group: int = 3
    memory: int = 30
    half_life: float = 30.0
    strongest: int = 200
    negatives: int = 10
    pairs: int = 3_000_000
    trees: int = 300
    num_leaves: int = 31
    min_child_samples: int = 200
    learning_rate: float = 0.08
    hidden: tuple[int, ...] = (128, 64)
    members: int = 3
    epochs: int = 4
    batch: int = 4096
    lr: float = 2e-3
    dropout: float = 0.1
    weight_decay: float = 1e-3
    validation: float = 0.15

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if not 0 < self.validation < 1:
            raise ConfigurationError(
                f"data.catalogue.validation={self.validation} is no share of the requests; use a value in (0, 1)"
            )
