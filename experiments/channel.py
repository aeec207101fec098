"""Counted and learned shares of channels compared by cross-entropy: `python experiments/channel.py runs/synthetic`.

Over the customers who bought in the horizon: mean cross-entropy of the channels of their purchases, with a 95 %
interval of the difference from 1,000 bootstrap samples of customers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from propensity.data.event_log import to_day
from propensity.decision.channel import counted_shares
from propensity.decision.history import purchase_history_of
from propensity.kernel.outcome import purchase_channels
from propensity.scores import SHARES_FILE, load_scores, load_shares

RESAMPLES, SEED = 1000, 17


def main(run: str, say: Callable[[str], None] = print) -> None:
    scores = load_scores(Path(run) / "scores.parquet")[-1]
    history = purchase_history_of(Path(run) / "config.yaml", None, scores.cutoff, say)
    learned = load_shares(Path(run) / SHARES_FILE, scores.cutoff, scores.customer)
    assert history is not None and learned is not None, "the comparison needs the event log and channels.parquet"
    names, counted = counted_shares(history, scores.customer, scores.offer[:1], customer_prior=5.0, offer_prior=50.0)
    channels = list(history.log.meta["channels"])
    code = np.array([names.index(name) if name in names else -1 for name in channels] + [-1], np.int32)
    lines = np.empty((scores.customer.size, len(names)), np.float32)
    row = history.rows(scores.customer)
    purchase_channels(history.log.events, row, to_day(scores.cutoff), history.horizon, code, lines)
    bought = lines.sum(axis=1) > 0
    share = lines[bought] / lines[bought].sum(axis=1, keepdims=True)
    order = [learned.channel.index(name) for name in names]
    loss = {
        "counted": -(share * np.log(counted[bought, 0])).sum(axis=1),
        "learned": -(share * np.log(learned.share[bought][:, order])).sum(axis=1),
    }
    draws = np.random.default_rng(SEED).integers(0, bought.sum(), (RESAMPLES, int(bought.sum())))
    low, high = np.quantile((loss["learned"] - loss["counted"])[draws].mean(axis=1), (0.025, 0.975))
    for name, each in loss.items():
        say(f"{name}: {each.mean():.4f}")
    say(f"learned minus counted: {(loss['learned'] - loss['counted']).mean():+.4f} [{low:+.4f}, {high:+.4f}]")


if __name__ == "__main__":
    main(sys.argv[1])
