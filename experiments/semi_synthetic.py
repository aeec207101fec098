"""What does an experiment of messages teach about real customers, where the effect of every message is known?

python experiments/semi_synthetic.py run=<run whose labels end before the first cutoff> log=<log>

Histories, scores and purchases without a message are those of Complete Journey. A message changes the log-odds of a
purchase by the state of the pair (`EFFECT`), by nothing where the probability is above .5, and by -.4 for a tenth of
the customers, whom no covariate names. Five seeds draw that tenth, the messages and their outcomes. Printed: coverage
of the intervals of `ab analyse`; how much of the oracle's effect a ranking reaches at 30 %, by `ab uplift` and by the
best ranking that does not know the tenth; and the incremental margin of the plans of `decide` at equal messages.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.ab.analyse import Rules, analyse
from propensity.ab.command import write
from propensity.ab.learner import OF_MESSAGES
from propensity.ab.split import hashed
from propensity.ab.table import Columns, Experiment
from propensity.ab.uplift import UpliftRules
from propensity.champion.champion import SERVED, Champion
from propensity.data.cutoff import parse_cutoff
from propensity.data.event_log import EventLog, to_day
from propensity.data.offer.column import ColumnOffers
from propensity.decision.arms import decided
from propensity.decision.campaign import CampaignPlan
from propensity.decision.context import gather
from propensity.decision.history import PurchaseHistory
from propensity.decision.objective import Objective, objective_of
from propensity.evaluation.message_experiment import KEY, AtCutoff, Messages, join_messages, pairs_at
from propensity.evaluation.message_uplift import uplift_of
from propensity.scores import Scores, save_scores
from propensity.training.checkpoint import load_trained

CUTOFFS, AT = ("2017-09-04", "2017-09-11", "2017-09-18"), "2017-10-02"
EFFECT = {"never-bought": 0.8, "lapsed": 0.6, "active": 0.1, "likely": 0.0}
TENTH, AGAINST = 0.1, -0.4
MESSAGES, CAMPAIGNS = 50_000, 12
SEEDS = range(10, 15)  # 5 to 9 chose the learners
PROBABILITIES = (0.3, 0.5, 0.7)  # of a message, by campaign
REDRAWS = 20  # of the arms, for the coverage
COLUMNS = Columns("arm", "holdout", ["bought", "value"], probability="probability")
DISCOVERY = (0.3, 0.5, 0.7)
MARGIN = 0.3
STOPPED = ("COUPON/MISC ITEMS", "FUEL")  # sold in the log, and no campaigns


class World(NamedTuple):
    """Pairs at a cutoff: real purchases `y0`, purchases with a message `y1`, probabilities, and what can be known."""

    p0: np.ndarray
    p1: np.ndarray
    known: np.ndarray  # the mean effect of pairs in this state, the tenth unknown
    y0: np.ndarray
    y1: np.ndarray


def state_of(part: AtCutoff) -> np.ndarray:
    """The key of `EFFECT` of each pair."""
    never, lapsed, likely = (part.table[name].to_numpy() > 0 for name in ("never_bought", "lapsed", "likely"))
    state = np.where(never, "never-bought", np.where(lapsed, "lapsed", "active"))
    return np.where(likely, "likely", state)


def shifted(p: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Probabilities whose log-odds are changed."""
    return 1 / (1 + np.exp(-(np.log(p / (1 - p)) + change)))


def world(part: AtCutoff, seed: int) -> World:
    """Outcomes with and without a message; of both, as few purchases as possible differ."""
    p0 = part.table["score"].to_numpy()
    change = np.array([EFFECT[state] for state in state_of(part)])
    tenth = hashed(part.table["customer_id"].to_list(), f"tenth {seed}") < TENTH
    p1 = shifted(p0, np.where(tenth, AGAINST, change))
    known = (1 - TENTH) * shifted(p0, change) + TENTH * shifted(p0, np.full(p0.size, AGAINST)) - p0
    y0 = part.bought if part.bought.size else np.zeros(p0.size)
    turn = np.random.default_rng([seed, p0.size]).random(p0.size)
    gained = (y0 == 0) & (turn < (p1 - p0) / (1 - p0))
    lost = (y0 == 1) & (turn < (p0 - p1) / p0)
    return World(p0, p1, known, y0, np.where(gained, 1.0, np.where(lost, 0.0, y0)))


def drawn(parts: list[AtCutoff], worlds: list[World], seed: int, rows: np.ndarray | None = None) -> pl.DataFrame:
    """Messages with arms, probabilities, outcomes and the truth."""
    rng = np.random.default_rng(seed)
    truth = {name: np.concatenate([getattr(each, name) for each in worlds]) for name in World._fields}
    table = pl.concat([part.table.select(KEY) for part in parts]).with_columns(
        **{k: pl.Series(v) for k, v in truth.items()}
    )
    table = table.with_columns(amount=pl.Series(np.concatenate([part.amount for part in parts])))
    rows = np.sort(rng.choice(table.height, MESSAGES, replace=False)) if rows is None else rows
    table = table[rows]
    share = np.array(PROBABILITIES)[table["offer_id"].rank("dense").to_numpy() % len(PROBABILITIES)]
    sent = rng.random(table.height) < share
    return table.with_columns(
        share=pl.Series(share),
        arm=pl.Series(np.where(sent, "message", "holdout")),
        probability=pl.Series(np.where(sent, share, 1 - share)),
        bought=pl.Series(np.where(sent, truth["y1"][rows], truth["y0"][rows])),
    )


def coverage(table: pl.DataFrame, experiment: Experiment, seed: int) -> list[dict[str, Any]]:
    """Whether the intervals of each campaign hold the mean effect of its messages, for several draws of the arms."""
    share = table["share"].to_numpy()
    y0, y1, amount = (table[name].to_numpy() for name in ("y0", "y1", "amount"))
    offer, found = table["offer_id"].to_numpy(), []
    for redraw in range(REDRAWS):
        sent = np.random.default_rng([seed, redraw]).random(share.size) < share
        bought = np.where(sent, y1, y0)
        for name in np.unique(offer):
            rows = np.flatnonzero(offer == name)
            own = replace(
                experiment,
                customer=experiment.customer[rows],
                arm=sent[rows].astype(np.int8),
                probability=np.where(sent, share, 1 - share)[rows],
                outcomes={"bought": bought[rows], "value": (bought * amount)[rows]},
                x=experiment.x[rows],
                unit=np.unique(experiment.unit[rows], return_inverse=True)[1],
                multiple={},
            )
            gap = (y1 - y0)[rows]
            truth = {"bought": gap.mean(), "value": (gap * amount[rows]).mean()}
            for outcome, cell in analyse(own, Rules())["arms"].get("message", {}).items():
                other = cell["adjusted"] or cell
                row = {"outcome": outcome, "raw": cell["low"] <= truth[outcome] <= cell["high"]}
                found.append(row | {"adjusted": other["low"] <= truth[outcome] <= other["high"]})
    return found


def reached(score: np.ndarray, effect: np.ndarray, share: float = 0.3) -> float:
    """Effect of the best `share` by a score over that of the best by the effect itself."""
    size = round(share * score.size)
    return float(effect[np.argsort(-score, kind="stable")[:size]].sum() / np.sort(effect)[::-1][:size].sum())


def plan(scores: Path, log: str, offers: list[str], objective: Objective) -> pl.DataFrame:
    """Contacts of the campaign plan, a tenth of the customers for each campaign."""
    context = gather(str(scores), None, None, None, log, 17, lambda sentence: None)
    event_log, at = EventLog.open(log), to_day(context.scores.cutoff)
    context = context.changed(history=PurchaseHistory(event_log, ColumnOffers("product_category"), at))
    size = round(0.1 * context.scores.customer.size)
    campaigns = [{"offer": offer, "days": [k % 7], "most": size} for k, offer in enumerate(offers)]
    decision = CampaignPlan(campaigns, mode="volume", margin=MARGIN, prices=False)
    return decided(decision, context, objective, None).table.select("customer_id", "offer_id", "score")


class Prepared(NamedTuple):
    """Pairs of all cutoffs, the offers of the campaigns, and the scores that plans read."""

    parts: list[AtCutoff]
    target: AtCutoff
    offers: list[str]
    scores: Scores


def prepared(run: str, log: str) -> Prepared:
    """Everything that no seed changes."""
    trained, events = load_trained(run), EventLog.open(log)
    champion = Champion.load(run, trained.model)
    at = parse_cutoff(events, AT, trained.task.horizon)
    scores = champion.predict_both(trained.task.cutoff_data(events, at, trained.vocabulary))[0][SERVED]
    order = np.argsort(-scores.revenue.sum(axis=0, dtype=float), kind="stable")
    offers = [scores.offer[m] for m in order if scores.offer[m] not in STOPPED][:CAMPAIGNS]
    parts = [pairs_at(trained, champion, events, to_day(day), offers, known=True) for day in CUTOFFS]
    target = pairs_at(trained, champion, events, to_day(AT), offers, known=False)
    return Prepared(parts, target, offers, scores)


def main(run: str, log: str) -> None:
    """Prints all figures."""
    measure(prepared(run, log), log)


def measure(known: Prepared, log: str, seeds: Sequence[int] = SEEDS) -> None:
    """All seeds."""
    parts, target = known.parts, known.target
    print(pl.Series("state", np.concatenate([state_of(part) for part in parts])).value_counts(sort=True))
    with tempfile.TemporaryDirectory() as folder:
        scores = Path(folder) / "scores.parquet"
        save_scores([known.scores], scores, log=Path(log))
        covered, shares, earned = [], [], []
        for seed in seeds:
            table = drawn(parts, [world(part, seed) for part in parts], seed)
            messages = join_messages(table, parts, target, COLUMNS)
            shares.append(learned(table, messages, Path(folder) / f"uplift {seed}"))
            print(seed, shares[-1], flush=True)
            earned.append(earnings(scores, log, known.offers, target, world(target, seed), Path(folder), seed))
            compare(earned)
            covered += coverage(table.sort(KEY), messages.experiment, seed)
            print(pl.DataFrame(covered).group_by("outcome").agg(pl.len(), pl.col("raw", "adjusted").mean()), flush=True)
    pl.Config.set_tbl_cols(-1)
    print(pl.DataFrame(shares).mean())


def learned(table: pl.DataFrame, messages: Messages, folder: Path) -> dict[str, Any]:
    """`ab uplift` of the messages into a folder, and what its rankings reach."""
    rules = UpliftRules(OF_MESSAGES, "ard", orderings=199, resamples=50)
    result, uplift, pairs = uplift_of(messages, rules)
    write(str(folder), "uplift", result | {"at": AT}, uplift, pairs=pairs)
    truth = table.with_columns(effect=pl.col("p1") - pl.col("p0"))
    rows = uplift.filter(pl.col("outcome") == "bought").join(
        truth.select(*KEY, "effect", "known", "p0"), left_on=["customer", *KEY[1:]], right_on=KEY
    )
    effect = rows["effect"].to_numpy()
    names = {"mean": "mean", **{name: name for name in OF_MESSAGES}, "reachable": "known", "propensity": "p0"}
    cell = result["arms"]["message"]
    found = {name: reached(rows[column].to_numpy(), effect) for name, column in names.items()}
    return found | {f"claimed {name}": cell[name]["claimed"] for name in cell}


def earnings(
    scores: Path, log: str, offers: list[str], target: AtCutoff, goal: World, folder: Path, seed: int
) -> pl.DataFrame:
    """True incremental margin of each customer by each plan."""
    truth = target.table.select("customer_id", "offer_id").with_columns(
        earned=pl.Series(MARGIN * (goal.p1 - goal.p0) * target.amount),
        best=pl.Series((goal.p1 - goal.p0) * target.amount),
        known=pl.Series(goal.known * target.amount),
    )
    incremental = objective_of("incremental", 0.3, str(folder / f"uplift {seed}"))
    plans = {"predicted": Objective(), "incremental": incremental}
    plans |= {f"discovery {share:g}": Objective("discovery", share) for share in DISCOVERY}
    assert incremental.uplift is not None
    for name in ("known", "best"):
        labels = truth.select(pl.col("customer_id").alias("customer"), "offer_id", pl.col(name).alias("mean"))
        table = labels.with_columns(arm=pl.lit("message"), outcome=pl.lit("value"))
        plans[name] = replace(incremental, uplift=replace(incremental.uplift, table=table))
    tables = []
    for name, objective in plans.items():
        contacts = plan(scores, log, offers, objective).cast({"customer_id": pl.String})
        joined = contacts.join(truth, on=["customer_id", "offer_id"], how="left")
        assert not joined["earned"].null_count()
        tables.append(
            joined.group_by("customer_id").agg(pl.col("earned").sum(), pl.len()).with_columns(plan=pl.lit(name))
        )
    return pl.concat(tables).with_columns(seed=pl.lit(seed))


def compare(earned: list[pl.DataFrame], resamples: int = 1000) -> None:
    """Margin, and difference to the plan by propensity, over all seeds; customers are resampled in pairs."""
    table = pl.concat(earned)
    print(
        table.group_by("plan").agg(
            pl.col("earned").sum() / len(earned), (pl.col("len").sum() / len(earned)).alias("messages")
        )
    )
    wide = (
        table.group_by("customer_id", "plan")
        .agg(pl.col("earned").sum())
        .pivot("plan", index="customer_id", values="earned")
        .fill_null(0)
    )
    names = [name for name in wide.columns if name != "customer_id"]
    values = wide.select(names).to_numpy()
    weight = np.random.default_rng(1).poisson(1.0, (resamples, len(values)))
    totals, base = weight @ values, names.index("predicted")
    for k, name in enumerate(names):
        gain = (totals[:, k] - totals[:, base]) / len(earned)
        low, high = np.quantile(gain, (0.025, 0.975))
        above = np.mean(totals[:, k] > 1.3 * np.maximum(totals[:, base], 0))
        interval = f"{gain.mean():+.1f} [{low:+.1f}, {high:+.1f}]"
        print(f"{name}: {interval} to the plan by propensity; above 1.3 times: {above:.1%}")


if __name__ == "__main__":
    main(**dict(each.split("=", 1) for each in sys.argv[1:]))
