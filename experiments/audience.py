"""`decision=audience` and two heuristics at equal volume: `python experiments/audience.py runs/demo`.

For every offer and cutoff of the run's scores, a tenth of the customers: those with the highest expected revenue; those
who bought the offer in the last six months by recency; and those of the K-means segments with the highest mean spend on
it. Ties are broken by a hash of the customer id.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from propensity.data.event_log import to_day
from propensity.decision.context import tie_break
from propensity.decision.history import PurchaseHistory, purchase_history_of
from propensity.decision.kmeans import fit_all, knee
from propensity.decision.rfm import customer_table, feature_matrix
from propensity.kernel.outcome import outcomes
from propensity.metric.interval import Interval, bootstrap_interval, resample_weights, verdict
from propensity.scores import Scores, load_scores

SHARE, HALF_YEAR, RESAMPLES, SEED = 0.1, 182, 1000, 17


def segments(history: PurchaseHistory, customer: np.ndarray) -> dict[str, np.ndarray]:
    """(N,) K-means segment of each customer as of the cutoff, with k at the knee and with 15."""
    table = customer_table(history, {}).table
    features, _ = feature_matrix(table)
    deviation = features.std(axis=0)
    scaled = np.clip((features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0), -4, 4)
    fits = fit_all(scaled.astype(np.float32), 15, 10, SEED)
    place = {str(c): n for n, c in enumerate(table["customer_id"].to_list())}
    own = [place[str(c)] for c in customer.tolist()]
    turn = knee(np.array([fit.inertia for fit in fits]))
    return {f"K-means, {name}": fits[k - 1].label[own] for name, k in (("k at the knee", turn), ("15 segments", 15))}


def realised(history: PurchaseHistory, row: np.ndarray, offer: tuple[str, ...]) -> np.ndarray:
    """(N, M) revenue in the horizon from the cutoff on."""
    place = {name: m for m, name in enumerate(history.offers.name)}
    index = np.array([place[name] for name in offer])
    order = np.argsort(index)
    shape = (row.size, index.size)
    bought, money, visit = np.empty(shape, bool), np.empty(shape, np.float32), np.empty(row.size, bool)
    outcomes(
        history.log.events,
        history.offers.take(index[order]).sets,
        row,
        history.day,
        history.horizon,
        bought,
        money,
        visit,
    )
    out = np.empty_like(money)
    out[:, order] = money
    return out


def audiences(scores: Scores, history: PurchaseHistory) -> dict[str, np.ndarray]:
    """Masks (N, M) of a tenth of the customers for each offer."""
    row, order = history.rows(scores.customer), tie_break(scores.customer)
    size = round(SHARE * row.size)
    recency = history.pairs(row, scores.offer, "recency")
    six_months = np.where(recency <= HALF_YEAR, -recency, -np.inf)
    spent = np.nan_to_num(history.pairs(row, scores.offer, "spend_182"))
    ranks = {"decision=audience": scores.revenue, "six-month rule": six_months}
    for name, label in segments(history, scores.customer).items():
        member = label[:, None] == np.arange(label.max() + 1)
        ranks[name] = ((member.T @ spent) / np.maximum(member.sum(axis=0)[:, None], 1))[label]
    masks = {}
    for name, value in ranks.items():
        masks[name] = np.zeros(value.shape, bool)
        for m in range(value.shape[1]):
            masks[name][np.lexsort((order, -value[:, m]))[:size], m] = True
    return masks


def main(run: str, say: Callable[[str], None] = print) -> None:
    dates = load_scores(Path(run) / "scores.parquet")
    first = purchase_history_of(Path(run) / "config.yaml", None, dates[0].cutoff, say)
    assert first is not None, "the comparison needs the event log"
    weights = resample_weights([scores.customer for scores in dates], RESAMPLES, SEED)
    shares: dict[str, list[np.ndarray]] = {}
    for scores, weight in zip(dates, weights, strict=True):
        history = first.at(to_day(scores.cutoff))
        money = realised(history, history.rows(scores.customer), scores.offer).astype(np.float64)
        whole = weight.T.astype(np.float64) @ money.sum(axis=1)
        for name, mask in audiences(scores, history).items():
            captured = weight.T.astype(np.float64) @ (money * mask).sum(axis=1)
            shares.setdefault(name, []).append(captured / whole)
        say(f"{scores.cutoff}: {scores.customer.size:,} customers, {len(scores.offer)} offers")
    audience = shares.pop("decision=audience")
    for k, label in enumerate([*(s.cutoff for s in dates), "mean"]):
        own = np.mean(audience, axis=0) if label == "mean" else audience[k]
        say(f"{label}: decision=audience {own[0]:.2%} of the revenue")
        for name, values in shares.items():
            other = np.mean(values, axis=0) if label == "mean" else values[k]
            difference: Interval = bootstrap_interval(own - other)
            interval = f"{difference.value:+.2%} [{difference.low:+.2%}, {difference.high:+.2%}], {verdict(difference)}"
            say(f"  {name} {other[0]:.2%}; difference {interval}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs/demo")
