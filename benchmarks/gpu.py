# ruff: noqa: E402  (paths and threads are set before the libraries are imported)
"""A GPU's correctness and speed in under four minutes, as one JSON: `python benchmarks/gpu.py --out=gpu.json`.

`--device=cpu --quick` runs the same code on a CPU with small sizes, in seconds. Correctness comes first: the device
against the CPU, bfloat16 against float32, compiled against eager. Where one of them fails, nothing is timed, and the
exit status is 1. The JSON holds the definitions of all figures.

The package is found in `src/` beside this folder; it need not be installed. torch, NumPy and Numba are enough for all
sections but `loader`, which also needs Lightning, rich, threadpoolctl and pyarrow, and these, which an image with torch
often lacks and then have to be carried as wheels: polars with polars-runtime-32, hydra-core, omegaconf and
antlr4-python3-runtime 4.9.3, which is published as source: `pip wheel --no-deps antlr4-python3-runtime==4.9.3`. Where
one is missing, the section says which.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
for place in (HERE.parent / "src", HERE.parent):
    sys.path.insert(0, str(place))
for name in ("OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from propensity.data.batch import HISTORY, Batch, BlockSizes, Inputs, Outcomes, Sizes
from propensity.feature.calendar import season
from propensity.loss.multitask import Multitask
from propensity.model.encoder.gru import Gru
from propensity.model.encoder.hstu import Hstu
from propensity.model.encoder.linear_recurrence import LinearRecurrence
from propensity.model.encoder.mean_pool import MeanPool
from propensity.model.encoder.time_filters import TimeFilters
from propensity.model.encoder.transformer import Transformer
from propensity.model.explore.dot_product import ExploreDotProduct
from propensity.model.member import EnsembleMember
from propensity.model.offer_net import OfferNet
from propensity.model.outputs import Outputs
from propensity.model.repeat.mlp import RepeatMLP
from propensity.model.season.fourier import Fourier
from propensity.model.visit.mlp import VisitMLP

ENCODERS = {
    "mean_pool": MeanPool,
    "gru": Gru,
    "transformer": Transformer,
    "hstu": Hstu,
    "linear_recurrence": LinearRecurrence,
    "time_filters": TimeFilters,
}
WITHOUT_BF16 = ("gru",)  # recurrent layers of torch have no bfloat16 on a CPU
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12}  # dense bfloat16 FLOP/s by the datasheets, by part of the name
NEAR, GRADIENT, BF16 = 1e-4, 1e-3, 0.02
ITEMS, OFFER_CODES, DAY, BETWEEN = (5_000, 300, 50), 1_000, 19_800, 730
DEFINITIONS = {
    "cpu_device": f"largest absolute difference of log-odds, amounts and states in float32, at most {NEAR:g}; of the "
    f"gradients over the largest gradient, at most {GRADIENT:g}",
    "bf16": f"largest absolute difference of a probability under bfloat16 autocast, at most {BF16:g}",
    "compiled": f"as cpu_device, torch.compile against eager on the device, at most {NEAR:g}",
    "batches_s": "training steps a second (forward, loss, backward, AdamW) on a batch that is on the device",
    "flops": "matrix products of a forward pass, counted by torch, a multiplication and an addition as two; a step is "
    "three forward passes, and what is recomputed for the gradient does not count",
    "mfu": "flops of the steps a second over the dense bfloat16 peak of the datasheet; null without one",
    "mfu_measured": "the same over the bfloat16 rate of a square product, measured in this run (peak_measured)",
    "waiting": "share of the time in which the next batch of the training loader was wanted and not there",
    "tokens_s": "real events a second in training steps of the encoder: batches of similar length, trimmed, against "
    "histories padded to the longest of all",
    "pairs_s": "customers times offers scored a second: forward passes on inputs that are on the device",
    "memory_mb": "peak of what torch allocated on the GPU in the section; on a CPU, peak memory of the process so far",
}


class Shape(NamedTuple):
    """Sizes of the sections."""

    customers: int
    events: int
    offers: int
    columns: int  # of pairs
    widths: tuple[int, ...]
    layers: int
    steps: int  # that are timed
    scored: int  # customers at a time
    long: int  # events of the longest history in `tokens`
    readers: int  # customers in `tokens`
    product: int  # rows of the square product
    market: tuple[int, int, int]  # customers, events, offers of the loader's market
    threads: tuple[int, ...]


FULL = Shape(
    1_024, 128, 100, 90, (64, 256, 512), 2, 20, 4_096, 1_024, 1_024, 8_192, (50_000, 3_000_000, 200), (0, 1, 4, 8)
)
QUICK = Shape(8, 12, 5, 12, (64,), 1, 1, 16, 32, 16, 128, (300, 6_000, 20), (0, 1))
SKIPPED = "the time limit was reached"


class Bench:
    """The device with its clock; sections add to `results`."""

    def __init__(self, device: str, quick: bool, limit: float) -> None:
        self.device, self.quick = torch.device(device), quick
        self.limit = math.inf if quick else limit
        self.shape = QUICK if quick else FULL
        self.begun = time.perf_counter()

    @property
    def cuda(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.begun

    def seconds(self, call: Callable[[], Any], times: int) -> float:
        """Seconds of a call, the mean of several after one that warms up; the device has finished at both ends."""
        call()
        self.wait()
        start = time.perf_counter()
        for _ in range(times):
            call()
        self.wait()
        return (time.perf_counter() - start) / times

    def wait(self) -> None:
        """Waits for the device."""
        if self.cuda:
            torch.cuda.synchronize()

    def bf16(self, enabled: bool = True) -> AbstractContextManager[Any]:
        """Products in bfloat16."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def compiled(self, model: OfferNet) -> OfferNet:
        """The network with compiled members; a quick run traces them and generates no code."""
        for member in model.members:
            member.compile(backend="aot_eager" if self.quick else "inductor")
        return model

    def fresh_memory(self) -> None:
        """Begins a section's count of memory."""
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def memory_mb(self) -> float:
        """See `DEFINITIONS`."""
        if self.cuda:
            return torch.cuda.max_memory_allocated() / 2**20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def sizes_of(shape: Shape) -> Sizes:
    """Columns as the default features have them, about."""
    half = shape.columns // 2
    pair = BlockSizes(shape.columns, optional=(0, 1, 2), ranked=tuple(range(half)), gate=(0, 1), within_offer=True)
    return Sizes(ITEMS, 8, 4, pair, BlockSizes(60), BlockSizes(20), 9, OFFER_CODES, 3, (1, 2))


def batch_of(shape: Shape, customers: int, seed: int = 1, events: int = 0) -> Batch:
    """Random inputs and outcomes; one customer has no event and one a single one."""
    random, events = np.random.default_rng(seed), events or shape.events
    length = np.clip(random.lognormal(np.log(events / 4), 0.8, customers).astype(np.int64), 0, events)
    length[:2] = 0, 1
    real = np.arange(events) < length[:, None]
    age = np.sort(random.integers(1, BETWEEN, (customers, events)), axis=1)[:, ::-1]
    pairs = customers, shape.offers
    bought = (random.random(pairs) < 0.05).astype(np.float32)
    arrays = {
        "token": np.stack([random.integers(0, size, real.shape) for size in ITEMS], axis=-1).astype(np.int32),
        "kind": random.integers(0, 8, real.shape).astype(np.int32),
        "channel": random.integers(0, 4, real.shape).astype(np.int32),
        "age": np.where(real, age, 0).astype(np.float32),
        "amount": random.gamma(2.0, 3.0, real.shape).astype(np.float32),
        "length": length,
        "pair": random.gamma(1.0, 2.0, (*pairs, shape.columns)).astype(np.float32),
        "customer_features": random.gamma(1.0, 2.0, (customers, 60)).astype(np.float32),
        "context": random.normal(size=(shape.offers, 20)).astype(np.float32),
        "season": season(DAY, 14),
        "offer": random.permutation(OFFER_CODES)[: shape.offers].astype(np.int64),
        "attribute": random.normal(size=(shape.offers, 3)).astype(np.float32),
        "standardisation": np.ones((shape.offers, 2, shape.columns), np.float32),
    }
    inputs = Inputs(**{name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()})
    channel = random.integers(0, 3, (customers, 2)).astype(np.float32)
    outcomes = bought, bought * 5, bought.max(1, initial=0), channel
    return Batch(inputs, Outcomes(*map(torch.from_numpy, outcomes)), torch.ones(shape.offers))


def on(device: torch.device, batch: Batch) -> Batch:
    """The batch on a device."""
    inputs = Inputs(*(each.to(device) for each in batch.inputs))
    outcomes = Outcomes(*(each.to(device) for each in batch.outcomes))
    return Batch(inputs, outcomes, batch.weight.to(device))


def network(shape: Shape, encoder: str, width: int) -> OfferNet:
    """The default network with an encoder, on the CPU; every term counts."""
    torch.manual_seed(0)
    deep = {"layers": shape.layers} if encoder in ("hstu", "transformer", "linear_recurrence") else {}
    model = OfferNet(
        sizes_of(shape),
        width=width,
        encoder=partial(ENCODERS[encoder], **deep),
        repeat=RepeatMLP,
        explore=ExploreDotProduct,
        visit=VisitMLP,
        season=Fourier,
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model.eval()


def member_of(model: OfferNet) -> EnsembleMember:
    """The only member."""
    (member,) = model.members
    assert isinstance(member, EnsembleMember)
    return member


def results_of(model: OfferNet, batch: Batch) -> tuple[Outputs, dict[str, Tensor]]:
    """Outputs, and the gradients of the loss, on the CPU."""
    model.zero_grad()
    (outputs,) = model.member_outputs(batch.inputs)
    Multitask()(outputs, batch.outcomes, batch.weight).total.backward()
    gradients = {name: p.grad.cpu() for name, p in model.named_parameters() if p.grad is not None}
    return type(outputs)(*(part.detach().float().cpu() for part in outputs)), gradients


def differences(
    found: tuple[Outputs, dict[str, Tensor]], expected: tuple[Outputs, dict[str, Tensor]]
) -> dict[str, float]:
    """Largest absolute differences of outputs, and of gradients over the largest gradient."""
    outputs = max(float((a - b).abs().max()) for a, b in zip(found[0][:5], expected[0][:5], strict=True))
    largest = max(float(each.abs().max()) for each in expected[1].values())
    gradients = max(float((found[1][name] - expected[1][name]).abs().max()) for name in expected[1])
    return {"outputs": outputs, "gradients": gradients / largest}


def correctness(bench: Bench) -> dict[str, Any]:
    """Differences by encoder, and the names of the checks that fail."""
    rows: dict[str, Any] = {}
    for name in ("mean_pool", "hstu") if bench.quick else ENCODERS:
        batch, model = batch_of(bench.shape, min(bench.shape.customers, 64)), network(bench.shape, name, 64)
        expected = results_of(model, batch)
        model, placed = model.to(bench.device), on(bench.device, batch)
        eager = results_of(model, placed)
        row: dict[str, Any] = {"cpu_device": differences(eager, expected)}
        if name not in WITHOUT_BF16 or bench.cuda:
            with bench.bf16(), torch.no_grad():
                rough = model(placed.inputs).probability().float()
            with torch.no_grad():
                row["bf16"] = float((rough - model(placed.inputs).probability()).abs().max())
        if name in ("mean_pool", "hstu") and not (bench.quick and name == "mean_pool"):
            row["compiled"] = differences(results_of(bench.compiled(model), placed), eager)
        rows[name] = row
    return {"encoders": rows, "failed": [f"{name} {part}" for name, row in rows.items() for part in failures(row)]}


def failures(row: dict[str, Any]) -> list[str]:
    """Names of the checks of an encoder that fail; NaN fails."""
    near = {"outputs": NEAR, "gradients": GRADIENT}
    parts = [
        f"{check} {part}"
        for check in ("cpu_device", "compiled")
        for part, limit in near.items()
        if check in row and not row[check][part] <= limit
    ]
    return parts + (["bf16"] if "bf16" in row and not row["bf16"] <= BF16 else [])


def peak(bench: Bench) -> dict[str, Any]:
    """bfloat16 FLOP/s by the datasheet, and of a square product."""
    n = bench.shape.product
    left, right = (torch.randn(n, n, device=bench.device, dtype=torch.bfloat16) for _ in range(2))
    took = bench.seconds(lambda: left @ right, 10)
    named = torch.cuda.get_device_name() if bench.cuda else ""
    sheet = next((value for part, value in PEAKS.items() if part in named), None)
    return {"peak": sheet, "peak_measured": 2 * n**3 / took}


def flops_of(call: Callable[[], Any]) -> int:
    """Floating point operations of the matrix products of a call without gradients."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def training(bench: Bench, peaks: dict[str, Any]) -> list[dict[str, Any]]:
    """Steps of the network with HSTU by width, eager and compiled."""
    rows = []
    batch = on(bench.device, batch_of(bench.shape, bench.shape.customers))
    for width in bench.shape.widths:
        for kind in ("bf16",) if bench.quick else ("fp32", "bf16", "bf16 compiled"):
            if bench.spent > 0.6 * bench.limit:
                rows.append({"width": width, "kind": kind, "skipped": SKIPPED})
                continue
            bench.fresh_memory()
            model = network(bench.shape, "hstu", width).to(bench.device)
            inputs = model.in_units(batch.inputs)
            flops, reading = flops_of(partial(model, batch.inputs)), flops_of(partial(member_of(model).encode, inputs))
            model = bench.compiled(model) if "compiled" in kind else model
            took = bench.seconds(stepper(bench, model.train(), batch, kind != "fp32"), bench.shape.steps)
            rate = 3 * flops / took
            rows.append(
                {
                    "width": width,
                    "kind": kind,
                    "parameters": sum(each.numel() for each in model.parameters()),
                    "batches_s": 1 / took,
                    "flops": flops,
                    "flops_encoder": reading,
                    "mfu": None if peaks["peak"] is None else rate / peaks["peak"],
                    "mfu_measured": rate / peaks["peak_measured"],
                    "memory_mb": bench.memory_mb(),
                }
            )
    return rows


def stepper(bench: Bench, model: OfferNet, batch: Batch, bf16: bool) -> Callable[[], None]:
    """A training step on a batch that is there."""
    optimizer, loss = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=bench.cuda), Multitask()

    def step() -> None:
        optimizer.zero_grad()
        with bench.bf16(bf16):
            (outputs,) = model.member_outputs(batch.inputs)
            total = loss(outputs, batch.outcomes, batch.weight).total
        total.backward()
        optimizer.step()

    return step


def tokens(bench: Bench) -> dict[str, Any]:
    """Events a second of the encoder alone, of batches of similar length against padded ones."""
    shape = bench.shape
    inputs = on(bench.device, batch_of(shape._replace(offers=1), shape.readers, events=shape.long)).inputs
    model = network(shape, "hstu", shape.widths[0]).to(bench.device).train()
    member = member_of(model)
    parts = [p for name, p in member.named_parameters() if name.startswith(("encoder.", "event_token."))]
    by_length, any_order = inputs.length.argsort(), torch.arange(shape.readers, device=bench.device)
    size = max(shape.readers // 8, 1)
    longest = int(inputs.length.max())

    def epoch(order: Tensor, trimmed: bool) -> None:
        for rows in order.split(size):
            width = max(int(inputs.length[rows].max()), 1) if trimmed else longest
            history = {name: getattr(inputs, name)[rows][:, :width] for name in HISTORY}
            with bench.bf16():
                state = member.encode_padded(inputs._replace(length=inputs.length[rows], **history))
            torch.autograd.grad(state.float().square().sum(), parts, allow_unused=True)

    real, times = int(inputs.length.sum()), 1 if bench.quick else 3
    bench.fresh_memory()
    seconds = {
        "padded": bench.seconds(lambda: epoch(any_order, False), times),
        "bucketed": bench.seconds(lambda: epoch(by_length, True), times),
    }
    rates = {name: real / took for name, took in seconds.items()}
    filled = real / (shape.readers * longest)
    return {"tokens_s": rates, "filled": filled, "longest": longest, "memory_mb": bench.memory_mb()}


def expected_revenue(model: OfferNet, inputs: Inputs) -> Tensor:
    """A score of each pair (B, M)."""
    outputs: Outputs = model(inputs)
    return outputs.expected_revenue()


def scoring(bench: Bench) -> list[dict[str, Any]]:
    """Pairs scored a second by the default network and by HSTU."""
    rows: list[dict[str, Any]] = []
    inputs = on(bench.device, batch_of(bench.shape, bench.shape.scored)).inputs
    for encoder in ("mean_pool", "hstu"):
        for kind in ("fp32", "bf16"):
            bench.fresh_memory()
            model = network(bench.shape, encoder, bench.shape.widths[0]).to(bench.device)
            with torch.inference_mode(), bench.bf16(kind == "bf16"):
                took = bench.seconds(partial(expected_revenue, model, inputs), bench.shape.steps)
            pairs = bench.shape.scored * bench.shape.offers
            rows.append({"encoder": encoder, "kind": kind, "pairs_s": pairs / took, "memory_mb": bench.memory_mb()})
    return rows


def loader(bench: Bench) -> dict[str, Any]:
    """Share of waiting of a training by default settings with its own loader, by the number of threads."""
    try:
        from lightning.fabric.utilities import move_data_to_device

        from benchmarks.market import Size, market
        from benchmarks.prefetch import loader as loader_of
        from benchmarks.prefetch import scene
    except ImportError as error:
        return {"skipped": f"{error}; the docstring of benchmarks/gpu.py says what has to be carried as wheels"}
    rows = []
    customers, events, offers = bench.shape.market
    with tempfile.TemporaryDirectory() as folder:
        market(Size(customers, events, offers, 0, 0, 0, 0), Path(folder))
        found = scene(Path(folder) / "log", device=str(bench.device))
        for threads in bench.shape.threads:
            if bench.spent > 0.95 * bench.limit:
                rows.append({"threads": threads, "skipped": SKIPPED})
                continue
            batches, steps, start = loader_of(found.data, threads), 0, 0.0
            for batch in batches:
                with bench.bf16(bench.cuda):
                    found.step(move_data_to_device(batch, bench.device))
                steps += 1
                if steps == 1:  # the first warms up
                    bench.wait()
                    start, batches.waited = time.perf_counter(), 0.0
                if steps > (2 if bench.quick else 200) or time.perf_counter() - start > 15:
                    break
            bench.wait()
            took = max(time.perf_counter() - start, 1e-9)
            rows.append({"threads": threads, "batches_s": (steps - 1) / took, "waiting": batches.waited / took})
        return {"sizes": found.sizes, "cpus": os.cpu_count(), "rows": rows}


def about(bench: Bench, command: str) -> dict[str, Any]:
    """What was measured where."""
    commit = subprocess.run(
        ["git", "-C", str(HERE), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return {
        "command": command,
        "device": torch.cuda.get_device_name() if bench.cuda else f"CPU, {platform.machine()}",
        "quick": bench.quick,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "commit": commit.stdout.strip() or None,
        "date": date.today().isoformat(),
        "shape": bench.shape._asdict(),
    }


def measure(bench: Bench, command: str) -> dict[str, Any]:
    """All sections; without the timed ones where a check fails."""
    torch.set_float32_matmul_precision("highest")
    results: dict[str, Any] = {"about": about(bench, command), "definitions": DEFINITIONS}
    results["correctness"] = correctness(bench)
    if not results["correctness"]["failed"]:
        results["peak"] = peak(bench)
        sections: dict[str, Callable[[], Any]] = {
            "training": lambda: training(bench, results["peak"]),
            "scoring": lambda: scoring(bench),
            "tokens": lambda: tokens(bench),
            "loader": lambda: loader(bench),
        }
        for title, section in sections.items():
            results[title] = section() if bench.spent < 0.9 * bench.limit else {"skipped": SKIPPED}
    return results | {"seconds": bench.spent}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="benchmarks/gpu.py", description=__doc__)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--quick", action="store_true", help="small sizes, for a test")
    parser.add_argument("--limit", type=float, default=220.0, help="seconds after which a full run leaves sections out")
    parser.add_argument("--out", type=Path, help="file of the JSON, which is printed too")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU; run this where there is one, or with --device=cpu --quick")
    command = " ".join(["python benchmarks/gpu.py", *(arguments if arguments is not None else sys.argv[1:])])
    results = measure(Bench(options.device, options.quick, options.limit), command)
    text = json.dumps(results, indent=1)
    if options.out is not None:
        options.out.write_text(text + "\n")
    print(text)
    if failed := results["correctness"]["failed"]:
        raise SystemExit(f"nothing was timed, because these checks fail: {', '.join(failed)}")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


if __name__ == "__main__":
    main()
