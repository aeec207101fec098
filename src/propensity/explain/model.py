"""Log-odds of the served model for inputs that are changed."""

from __future__ import annotations

import numpy as np

from propensity.champion.champion import NETWORK, Champion
from propensity.champion.choose import STACK
from propensity.champion.outputs import champion_outputs, network_candidate_outputs
from propensity.data.batch import Inputs
from propensity.explain.coalition import LogOdds
from propensity.model.inference import one_thread

SMALLEST, LARGEST = 1e-12, 1 - 1e-7  # probabilities whose log-odds are computed


def log_odds_of(probability: np.ndarray) -> np.ndarray:
    """Log-odds of probabilities.

    Examples
    --------
    >>> log_odds_of(np.array([0.5, 0.75])).round(4).tolist()
    [0.0, 1.0986]
    """
    bounded = np.clip(np.asarray(probability, np.float64), SMALLEST, LARGEST)
    return np.asarray(np.log(bounded) - np.log1p(-bounded))


def run_log_odds(champion: Champion, past_column: int) -> LogOdds:
    """The served model of a run.

    Parameters
    ----------
    champion : Champion
        Of the run.
    past_column : int
        Pair column `purchase_days`.
    """

    def log_odds(inputs: Inputs) -> np.ndarray:
        with one_thread():
            network = network_candidate_outputs(champion.network, inputs)
            if not champion.candidates or champion.name == NETWORK:
                return network.logit
            return champion_outputs(champion, inputs, network, past_column).logit

    champion.network.eval()
    return log_odds


def reads_other_offers(champion: Champion) -> bool:
    """Whether a champion adds up purchases over all offers: it is, or its stack weighs, the candidate frequency."""
    name = "frequency"
    if champion.name != STACK:
        return champion.name == name
    place = champion.stack.names.index(name) if name in champion.stack.names else None
    segments = champion.stack.never_bought, champion.stack.past
    return place is not None and any(segment.weight[place] != 0 for segment in segments)
