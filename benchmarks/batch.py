"""A training batch made by kernels, against a loop over its customers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchmarks.market import Market
from benchmarks.race import Race, median_seconds
from benchmarks.windows import HORIZON, cutoffs
from propensity.data.batch import Inputs
from propensity.data.cutoff import Cutoff
from propensity.data.dropout import Hidden
from propensity.data.feature import FeatureRule, Features
from propensity.data.snapshot import Snapshot, SnapshotBuilder, SnapshotRule
from propensity.data.vocabulary import Vocabulary
from propensity.kernel.pair import pair_windows
from propensity.training.loader import to_tensors

OF_CUSTOMER = ("token", "kind", "channel", "gap", "amount", "length", "pair", "customer")
HISTORY = OF_CUSTOMER[:6]
Arrays = dict[str, Tensor]


def scene(market: Market) -> tuple[Features, Snapshot]:
    """Features of the newest cutoff that has a whole horizon after it."""
    vocabulary = Vocabulary(market.offers.name, {"category": market.offers.name}, {}, ())
    features = Features(market.log, market.offers, vocabulary, FeatureRule())
    cutoff = Cutoff(cutoffs(market, 1)[0], HORIZON)
    return features, SnapshotBuilder(market.log, market.offers, HORIZON, SnapshotRule(references=1)).at(cutoff)


def drawn(market: Market, count: int) -> np.ndarray:
    return np.random.default_rng(1).choice(len(market.log), min(count, len(market.log)), replace=False)


def input_race(market: Market, customers: int, gate: float) -> Race:
    """`Features.inputs` and tensors of a batch; the rival asks for one customer at a time and stacks."""
    (features, snapshot), rows = scene(market), drawn(market, customers)

    def ours() -> Inputs:
        return to_tensors(features.inputs(snapshot, rows))

    def rival() -> Arrays:
        samples = [to_tensors(features.inputs(snapshot, rows[b : b + 1])) for b in range(rows.size)]
        return {name: torch.cat([getattr(sample, name) for sample in samples]) for name in OF_CUSTOMER}

    def same(mine: Inputs, theirs: Arrays) -> None:
        for name, values in theirs.items():
            torch.testing.assert_close(getattr(mine, name), values, rtol=1e-4, atol=1e-4, equal_nan=True)

    def why() -> str:
        person = features._customer(snapshot, rows, nothing := Hidden.nothing(rows.size))
        kernel = median_seconds(lambda: pair_kernel(features, snapshot, rows))
        block = median_seconds(lambda: features._pair(snapshot, rows, nothing, person))
        return (
            f"the rival runs our kernels too, so only calls are saved; of our {median_seconds(ours):.2g} s the pair "
            f"kernel is {kernel:.2g} s, and lookups and products in NumPy after it are {block - kernel:.2g} s."
        )

    return Race(f"inputs of {rows.size} customers", "the same kernels by customer", gate, ours, rival, same, why)


def pair_kernel(features: Features, snapshot: Snapshot, rows: np.ndarray) -> None:
    """The kernel of the pair block, into new memory as in a batch."""
    out = np.empty((rows.size, len(features.offers), len(features.rule.pair)), np.float32)
    hidden, day = Hidden.nothing(rows.size), snapshot.cutoff.day
    ages = features.windows, features.half_lives
    pair_windows(features.events, features.sets, rows, day, hidden.days, hidden.offer, *ages, out)


def history_race(market: Market, customers: int, gate: float) -> Race:
    """The last events of each customer, padded; the rival slices and pads in NumPy, one customer at a time."""
    (features, snapshot), rows = scene(market), drawn(market, customers)
    cutoff = snapshot.cutoff

    def ours() -> Arrays:
        item, *rest = features._history(cutoff, rows, Hidden.nothing(rows.size))
        columns = (features.item_code[item], rest[0], features.channel_code[rest[1]], *rest[2:])
        return {name: torch.from_numpy(values) for name, values in zip(HISTORY, columns, strict=True)}

    def rival() -> Arrays:
        samples = [one_history(features, cutoff.day, int(row)) for row in rows]
        return {name: torch.stack([torch.as_tensor(s[name]) for s in samples]) for name in HISTORY}

    def same(mine: Arrays, theirs: Arrays) -> None:
        for name, values in theirs.items():
            torch.testing.assert_close(mine[name], values)

    def why() -> str:
        hot = median_seconds(ours, rounds=50)
        return (
            f"again and again ours takes {hot:.2g} s; after the rival's turn its memory is cold, as it is in training."
        )

    return Race(f"histories of {rows.size} customers", "NumPy by customer", gate, ours, rival, same, why)


def one_history(features: Features, day: int, row: int) -> dict[str, np.ndarray]:
    """What a dataset's `__getitem__` would do for one customer."""
    log, width = features.log, features.rule.history
    start, stop = log.offsets[row], log.offsets[row + 1]
    end = start + np.searchsorted(log.day[start:stop], day)
    own = slice(max(start, end - width), end)
    length = int(own.stop - own.start)
    empty = {"kind": np.int32, "gap": np.float32, "amount": np.float32}
    made = {name: np.zeros(width, kind) for name, kind in empty.items()}
    item, channel = np.full(width, -1, np.int32), np.full(width, -1, np.int32)
    item[:length], channel[:length] = log.item[own], log.channel[own]
    made["kind"][:length], made["amount"][:length] = log.kind[own], log.revenue[own]
    made["gap"][:length] = day - log.day[own]
    codes = {"token": features.item_code[item], "channel": features.channel_code[channel]}
    return made | codes | {"length": np.array(length)}
