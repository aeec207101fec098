"""Batches of histories: made by a kernel against a loop over samples, and bucketed by length against padded."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from benchmarks.market import Market
from benchmarks.race import Race, cpu_seconds, median_seconds
from benchmarks.windows import HORIZON, cutoffs
from propensity.data.batch import HISTORY, Inputs
from propensity.data.cutoff import Cutoff
from propensity.data.vocabulary import Vocabulary
from propensity.feature.features import FeatureConfig, Features
from propensity.feature.history_mask import HistoryMask
from propensity.model.embed import EventEmbedding
from propensity.model.encoder.transformer import Transformer
from propensity.training.data_module import CutoffSampler, trim_padding
from propensity.training.length import LARGEST

WIDTH = 32
MANY = 2  # times the customers of a collation that are trained on in a turn
Arrays = dict[str, Tensor]


class Scene(NamedTuple):
    """Features of a market, a date, and customers with a purchase before it."""

    features: Features
    cutoff: Cutoff
    customer: np.ndarray


def scene(market: Market) -> Scene:
    """The newest cutoff that has a whole horizon after it."""
    vocabulary = Vocabulary(market.offers.name, {"category": market.offers.name}, {}, ())
    features = Features(market.log, market.offers, vocabulary, FeatureConfig())
    cutoff = Cutoff(cutoffs(market, 1)[0], HORIZON)
    return Scene(features, cutoff, market.log.purchasers(cutoff.day))


def collate(found: Scene, rows: np.ndarray) -> Arrays:
    """The histories of some customers as tensors, as `Features.inputs` makes them."""
    made = found.features.histories(found.cutoff, rows, HistoryMask.nothing(rows.size))
    return {name: torch.from_numpy(values) for name, values in zip((*HISTORY, "length"), made, strict=True)}


class Histories(Dataset[Arrays]):
    """What a dataset of one customer a sample does: slice the columns, look codes up, pad."""

    def __init__(self, found: Scene) -> None:
        self.found = found

    def __getitem__(self, row: int) -> Arrays:
        features, cutoff, _ = self.found
        log, width = features.log, features.config.history
        start, stop = log.offsets[row], log.offsets[row + 1]
        end = start + np.searchsorted(log.day[start:stop], cutoff.day)
        own = slice(max(start, end - width), end)
        length = int(own.stop - own.start)
        empty = {"kind": np.int32, "age": np.float32, "amount": np.float32}
        made = {name: np.zeros(width, kind) for name, kind in empty.items()}
        item, channel = np.full(width, -1, np.int32), np.full(width, -1, np.int32)
        item[:length], channel[:length] = log.item[own], log.channel[own]
        made["kind"][:length], made["amount"][:length] = log.kind[own], log.revenue[own]
        made["age"][:length] = cutoff.day - log.day[own]
        made |= {"token": features.item_code[item], "channel": features.channel_code[channel]}
        return {name: torch.from_numpy(values) for name, values in made.items()} | {"length": torch.tensor(length)}


def collation_race(market: Market, customers: int, gate: float, aim: float) -> Race:
    """Both make the same padded tensors of the same customers."""
    found = scene(market)
    rows = np.random.default_rng(1).choice(found.customer, min(customers, found.customer.size), replace=False)
    samples = Histories(found)

    def ours() -> Arrays:
        return collate(found, rows)

    def rival() -> Arrays:
        made: Arrays = default_collate([samples[row] for row in rows.tolist()])
        return made

    def check() -> None:
        mine, theirs = ours(), rival()
        for name, values in theirs.items():
            torch.testing.assert_close(mine[name], values, rtol=0, atol=0)

    def why() -> str:
        hot = median_seconds(ours, rounds=50)
        return f"again and again ours takes {hot:.2g} s; after the rival's turn its memory is cold, as in training."

    race = Race(f"collation of {rows.size} histories", "__getitem__ + default_collate", gate, ours, rival, check, why)
    race.aim = aim
    race.notes.append(f"{int(ours()['length'].sum()) / cpu_seconds(ours) / 1e6:.1f} M tokens per second and core")
    return race


def bucket_race(market: Market, customers: int, gate: float, aim: float) -> Race:
    """Training steps of one encoder on the same customers, in batches of like length against batches of any.

    Batches are as large as training makes them by default; a whole date has more of them, and bounds them closer.
    """
    found = scene(market)
    features, cutoff, everyone = found
    rows = np.random.default_rng(2).choice(everyone, min(MANY * customers, everyone.size), replace=False)
    lengths, batch = features.lengths(cutoff, rows), max(LARGEST // len(market.offers), 1)
    torch.manual_seed(0)
    embed, encoder = EventEmbedding(features.config.sizes(features.vocabulary), WIDTH), Transformer(WIDTH, dropout=0.0)
    parts = [*embed.parameters(), *encoder.parameters()]

    def states(inputs: Inputs) -> Tensor:
        made: Tensor = encoder(embed(inputs), inputs.length)
        return made

    def epoch(length_bucketing: bool) -> None:
        for draw in CutoffSampler([rows.size], batch, 0, lengths=[lengths] if length_bucketing else None):
            inputs = _inputs(collate(found, rows[draw.rows]))
            loss = states(trim_padding(inputs) if length_bucketing else inputs).square().mean()
            torch.autograd.grad(loss, parts, allow_unused=True)

    def check() -> None:
        inputs = _inputs(collate(found, rows[np.argsort(lengths)[: min(64, rows.size)]]))
        with torch.no_grad():
            torch.testing.assert_close(states(trim_padding(inputs)), states(inputs), rtol=1e-4, atol=1e-5)

    def why() -> str:
        slots = features.config.history
        return f"real tokens fill {lengths.mean() / slots:.0%} of padded slots: no order of customers can save more."

    title = f"training steps of a transformer, {rows.size} histories in batches of {batch}, bucketed"
    race = Race(title, "padded", gate, lambda: epoch(True), lambda: epoch(False), check, why, aim=aim)
    race.notes.append(f"{lengths.mean():.1f} real tokens of {features.config.history} slots")
    return race


def _inputs(batch: Arrays) -> Inputs:
    none = torch.zeros(0)
    others = dict.fromkeys(
        ("pair", "customer_features", "context", "season", "offer", "attribute", "standardisation"), none
    )
    return Inputs(**{name: batch[name] for name in (*HISTORY, "length")}, **others)
