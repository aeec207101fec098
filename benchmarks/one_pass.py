"""CPU-seconds of training encoders at 20 cutoffs: one pass against a pass for each: `python benchmarks/one_pass.py`.

Random histories of the last events of 64 customers over two years; gradients of embedding and encoder. Both ways give
the same states, which is checked first. They alternate in one process with one thread; medians of five rounds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from propensity.data.batch import BlockSizes, Inputs, Sizes
from propensity.feature.calendar import season
from propensity.model.causal import CausalEncoder, visible_tokens
from propensity.model.encoder.hstu import Hstu
from propensity.model.encoder.linear_recurrence import LinearRecurrence
from propensity.model.encoder.time_filters import TimeFilters
from propensity.model.event_token import EventToken

CUSTOMERS, CUTOFFS, STEP, YEARS, DAY = 64, 20, 7, 2, 19_800
ENCODERS: dict[str, Callable[[int], CausalEncoder]] = {
    "hstu": lambda width: Hstu(width, dropout=0.0),
    "linear_recurrence": lambda width: LinearRecurrence(width, dropout=0.0),
    "time_filters": lambda width: TimeFilters(width, dropout=0.0),
}


class Measured(NamedTuple):
    """Median CPU-seconds of the gradients at all cutoffs."""

    encoder: str
    one_pass: float
    separate: float


def main(arguments: list[str] | None = None) -> list[Measured]:
    parser = argparse.ArgumentParser(prog="benchmarks/one_pass.py", description=__doc__)
    parser.add_argument("--events", type=int, default=128, help="events of a history")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--customers", type=int, default=CUSTOMERS)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = [measured(name, chosen) for name in ENCODERS]
    print(f"{chosen.customers} customers, {chosen.events} events, {CUTOFFS} cutoffs, width {chosen.width}\n")
    print("| encoder | one pass, CPU-seconds | separate passes | ratio |\n|---|---:|---:|---:|")
    for row in rows:
        print(f"| {row.encoder} | {row.one_pass:.3f} | {row.separate:.3f} | {row.separate / row.one_pass:.1f} |")
    return rows


def measured(name: str, chosen: argparse.Namespace) -> Measured:
    """Both ways of one encoder in turns."""
    torch.manual_seed(0)
    embed, encoder = EventToken(sizes(), chosen.width, "items"), ENCODERS[name](chosen.width)
    parts = [*embed.parameters(), *encoder.parameters()]
    whole = before(histories(chosen.customers, chosen.events), 0.0)
    query = torch.arange(CUTOFFS - 1, -1, -1).float() * STEP
    single = [before(whole, float(days)) for days in query]

    def one_pass() -> Tensor:
        tokens = embed(whole)
        at = query.expand(chosen.customers, -1)
        visible = visible_tokens(tokens.age, tokens.length, at, torch.zeros_like(at))
        return encoder.at(tokens.token, tokens.age, at, visible)

    def passes(inputs: Inputs) -> Tensor:
        tokens = embed(inputs)
        state: Tensor = encoder(tokens.token, tokens.length, tokens.age)
        return state

    def ours() -> None:
        torch.autograd.grad(one_pass().square().sum(), parts)

    def separate() -> None:
        for inputs in single:
            torch.autograd.grad(passes(inputs).square().sum(), parts)

    with torch.no_grad():
        expected = torch.stack([passes(inputs) for inputs in single], dim=1)
        torch.testing.assert_close(one_pass(), expected, rtol=0, atol=1e-5)
    seconds: dict[Callable[[], None], list[float]] = {ours: [], separate: []}
    for k in range(chosen.rounds + 1):  # the first round warms up
        for call in (ours, separate) if k % 2 else (separate, ours):
            start = time.process_time()
            call()
            seconds[call] += [time.process_time() - start] * (k > 0)
    return Measured(name, float(np.median(seconds[ours])), float(np.median(seconds[separate])))


def sizes() -> Sizes:
    """Of the embeddings of events; the rest is not read."""
    none = BlockSizes(0)
    return Sizes((2_000, 200, 30), 5, 4, none, none, none, 9, 0, 0, ())


def histories(customers: int, events: int) -> Inputs:
    """Random histories at the newest cutoff; one customer has no event, one a single one."""
    random = np.random.default_rng(1)
    age = np.sort(random.integers(1, 365 * YEARS, (customers, events)), axis=1)[:, ::-1].astype(np.float32)
    length = random.integers(events // 2, events + 1, customers)
    length[:2] = 0, 1
    real = np.arange(events) < length[:, None]
    # the events of a history end near the newest cutoff, whatever their number
    age = np.where(real, np.take_along_axis(age, (np.arange(events) + events - length[:, None]) % events, axis=1), 0)
    fields = {
        "token": np.stack([random.integers(0, size, age.shape) for size in sizes().tokens], axis=-1).astype(np.int32),
        "kind": random.integers(0, 5, age.shape).astype(np.int32),
        "channel": random.integers(0, 4, age.shape).astype(np.int32),
        "age": age.astype(np.float32),
        "amount": random.gamma(2.0, 3.0, age.shape).astype(np.float32),
        "length": length,
        "season": season(DAY, 14),
    }
    tensors = {name: torch.from_numpy(array) for name, array in fields.items()}
    return Inputs(**{name: tensors.get(name, torch.zeros(0)) for name in Inputs._fields})


def before(inputs: Inputs, days: float) -> Inputs:
    """The histories at an earlier cutoff, trimmed to the longest."""
    real = torch.arange(inputs.age.shape[1]) < inputs.length[:, None]
    length = ((inputs.age > days) & real).sum(1)
    width = max(int(length.max()), 1)
    names = ("token", "kind", "channel", "amount")
    columns = {name: getattr(inputs, name)[:, :width] for name in names}
    terms = torch.from_numpy(season(DAY - int(days), 14))
    return inputs._replace(age=inputs.age[:, :width] - days, length=length, season=terms, **columns)


if __name__ == "__main__":
    main()
