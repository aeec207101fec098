"""Can the scores tell who was in the training data, and can they still after forget and retraining?

On the synthetic market two random fifths of the customers are drawn: the erased, and strangers who were never in the
log. A model is trained on the log without the strangers, the erased are forgotten, and the model is trained again. The
attacker knows histories and purchases of both groups and ranks customers by the log loss of their purchases in the
training windows: a lower loss looks like a member. AUC .5 cannot tell the groups apart.

    python experiments/membership.py trainer.max_epochs=80 champion=network

So many passes fit the training data too closely: AUC .694 before, .466 after (300 against 300 customers, standard error
.02). With the usual number of passes it is .49 before and after.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from small_market import MARKET

from propensity.champion.champion import SERVED, Champion
from propensity.command import typed
from propensity.config import conf_folder
from propensity.data.cutoff import parse_cutoff
from propensity.data.event_log import EventLog
from propensity.evaluation.labels import labels
from propensity.ingest.erasure import erase_customer, remove_customer
from propensity.training.checkpoint import load_trained
from propensity.training.run import train

SETTINGS = (*MARKET, "trainer.enable_progress_bar=false", "training.validation=null")
SHARE = 5  # one customer in so many is erased, and another is a stranger
FORGOTTEN_BY_COMMAND = 3  # the others are removed in the same way, in one pass over the log


class Attack(NamedTuple):
    """AUC of telling members from strangers, and of telling the erased from strangers after retraining."""

    before: float
    after: float
    erased: int
    strangers: int


def composed(*overrides: str) -> Any:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return typed(compose("train", overrides=[*SETTINGS, *overrides]))


def membership(folder: Path, customers: int = 1_500, seed: int = 17, settings: tuple[str, ...] = ()) -> Attack:
    """Trains, forgets, trains again, and attacks both models.

    Parameters
    ----------
    folder : where logs and runs are written.
    customers : of the market.
    seed : of the market's halves.
    settings : further settings of the trainings.
    """
    size = f"data.source.customers={customers}"
    everyone = instantiate(composed(size, "out=x").data, _convert_="all").prepare(folder / "everyone")
    group = np.random.default_rng(seed).permutation(len(everyone)) % SHARE
    erased, strangers = everyone.customer_id[group == 0], everyone.customer_id[group == 1]
    log = folder / "log"
    without(everyone, strangers).save(log)
    before = losses(log, folder / "runs/before", everyone, size, *settings)
    for customer in erased[:FORGOTTEN_BY_COMMAND]:
        erase_customer(str(customer), log, folder / "runs")
    without(EventLog.open(log), erased[FORGOTTEN_BY_COMMAND:]).save(log)
    after = losses(log, folder / "runs/after", everyone, size, *settings)
    told, still_told = (distinguished(loss, erased, strangers) for loss in (before, after))
    return Attack(told, still_told, int(erased.size), int(strangers.size))


def without(log: EventLog, customers: np.ndarray) -> EventLog:
    """The log without some customers."""
    for customer in customers:
        log = remove_customer(log, int(np.flatnonzero(log.customer_id == customer)[0]))[0]
    return log


def losses(log: Path, run: Path, everyone: EventLog, *settings: str) -> dict[Any, float]:
    """Mean log loss of each customer's purchases in the training windows, by a model that is trained on `log`."""
    train(composed(*settings, f"data.log={log}", f"out={run}"))
    trained = load_trained(run)
    champion = Champion.load(run, trained.model)
    total: dict[Any, list[float]] = {}
    for day in trained.about["cutoffs"]:
        date = parse_cutoff(everyone, day, trained.task.horizon)
        cutoff_data = trained.task.cutoff_data(everyone, date, trained.vocabulary)
        truth, scores = labels(everyone, cutoff_data), champion.predict(cutoff_data)[SERVED]
        chance = np.clip(scores.probability.astype(np.float64), 1e-7, 1 - 1e-7)
        loss = -np.where(truth.bought, np.log(chance), np.log1p(-chance)).mean(1)
        for customer, value in zip(scores.customer.tolist(), loss.tolist(), strict=True):
            total.setdefault(customer, []).append(value)
    return {customer: float(np.mean(values)) for customer, values in total.items()}


def distinguished(loss: dict[Any, float], members: np.ndarray, strangers: np.ndarray) -> float:
    """AUC of a low loss for the members, over customers that have a score."""
    groups = [np.array([-loss[each] for each in group.tolist() if each in loss]) for group in (members, strangers)]
    wins = (groups[0][:, None] > groups[1]).mean() + (groups[0][:, None] == groups[1]).mean() / 2
    return float(wins)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        attack = membership(Path(place), settings=tuple(sys.argv[1:]))
    print(json.dumps(attack._asdict(), indent=1))
