"""Events a CPU-second of training an encoder on long histories, grouped by length, bucketed and padded.

`python benchmarks/packing.py`. Lengths are lognormal around a tenth of `--events`. `grouped` is
what training does with a batch as it is; `bucketed` puts histories of similar length into a batch, `padded` reads all
as long as the longest of all. Ways alternate in one process with one thread; medians of five rounds.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks.one_pass import ENCODERS, histories, sizes
from propensity.data.batch import HISTORY, Inputs
from propensity.model.length_group import encode_in_groups

WAYS = ("padded", "bucketed", "grouped")


def main(arguments: list[str] | None = None) -> dict[str, dict[str, float]]:
    """Median CPU-seconds of an epoch by encoder and way."""
    parser = argparse.ArgumentParser(prog="benchmarks/packing.py", description=__doc__)
    parser.add_argument("--customers", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--events", type=int, default=1_024, help="of a history, at most")
    parser.add_argument("--encoders", default="linear_recurrence")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    inputs = drawn(chosen.customers, chosen.events)
    events, slots = int(inputs.length.sum()), inputs.length.numel() * int(inputs.length.max())
    results: dict[str, dict[str, float]] = {}
    print(f"{chosen.customers} customers, {events:,} events, {events / slots:.0%} of the padded positions\n")
    print("| encoder | " + " | ".join(f"{way}, events a CPU-s" for way in WAYS) + " | grouped over padded |")
    print("|---|" + "---:|" * (len(WAYS) + 1))
    for name in chosen.encoders.split(","):
        took = results[name] = measured(name, inputs, chosen.batch, chosen.rounds)
        rates = " | ".join(f"{events / took[way]:,.0f}" for way in WAYS)
        print(f"| {name} | {rates} | {took['padded'] / took['grouped']:.1f} |", flush=True)
    return results


def drawn(customers: int, events: int) -> Inputs:
    """Histories with lognormal lengths."""
    random = np.random.default_rng(3)
    inputs = histories(customers + 2, events)  # the first two are of one event at most
    rows = {field: getattr(inputs, field)[2:] for field in HISTORY}
    length = random.lognormal(np.log(events / 10), 1.0, customers).astype(np.int64).clip(1)
    return inputs._replace(length=torch.minimum(inputs.length[2:], torch.from_numpy(length)), **rows)


def measured(name: str, inputs: Inputs, batch: int, rounds: int) -> dict[str, float]:
    """Median CPU-seconds of the gradients of all batches, by the way in which they are read."""
    torch.manual_seed(0)
    encoder = ENCODERS[name](32)
    embed = encoder.event_token(sizes(), 32)
    parts = [*embed.parameters(), *encoder.parameters()]

    def encode(each: Inputs) -> Tensor:
        tokens = embed(each)
        state: Tensor = encoder(tokens.token, tokens.length, tokens.age)
        return state

    def epoch(order: Tensor, trimmed: bool, read: Callable[[Inputs], Tensor]) -> None:
        for rows in order.split(batch):
            width = int(inputs.length[rows].max()) if trimmed else inputs.age.shape[1]
            history = {field: getattr(inputs, field)[rows][:, :width] for field in HISTORY}
            state = read(inputs._replace(length=inputs.length[rows], **history))
            torch.autograd.grad(state.square().sum(), parts, allow_unused=True)

    as_it_is, by_length = torch.arange(inputs.length.numel()), inputs.length.argsort()
    grouped = functools.partial(encode_in_groups, encode)
    ways = {
        "padded": lambda: epoch(as_it_is, False, encode),
        "bucketed": lambda: epoch(by_length, True, encode),
        "grouped": lambda: epoch(as_it_is, False, grouped),
    }
    with torch.no_grad():
        torch.testing.assert_close(grouped(inputs), encode(inputs), rtol=0, atol=1e-5)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for k in range(rounds + 1):  # the first round warms up
        for way in WAYS if k % 2 else WAYS[::-1]:
            start = time.process_time()
            ways[way]()
            seconds[way] += [time.process_time() - start] * (k > 0)
    return {way: float(np.median(values)) for way, values in seconds.items()}


if __name__ == "__main__":
    main()
