"""Scoring from a bundle, in files and over HTTP: `python benchmarks/serving.py bundle` (the folder of a bundle).

The market is made up and as large as asked; the network is the bundle's, to which its offers are new. Leaves
serving.json beside this file, and rows under a heading of results.md. The service is asked by wrk, on loopback.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")

HEADING, NEXT = "## Serving", "## Decisions"
OFFERS, EVENTS, ROUNDS, BLOCK = 300, 50, 5, 81  # events of a customer on average; customers of a block
CLIENTS, SECONDS, PORT = (1, 16, 64), 6, 8731
STREAM = """
import resource, sys
from propensity.serving.batch import Stream, score_bundle
how = Stream(top=int(sys.argv[4])) if sys.argv[4] != "0" else Stream()
found = score_bundle(sys.argv[1], sys.argv[2], "2024-01-01", sys.argv[3], how, lambda text: None)
peak = resource.getrusage(resource.RUSAGE_SELF)
print(found.customers, found.offers, found.rows, peak.ru_utime + peak.ru_stime, peak.ru_maxrss)
"""


def made_up(bundle: Path, folder: Path, customers: int) -> Path:
    """A log of a made-up market, dated to end the day before 2024-01-01, with the offer column of the bundle; and the
    bundle itself, its validity moved to that date."""
    from benchmarks.market import Size, market
    from propensity.data.event_log import EventLog, to_day
    from propensity.serving import verify
    from propensity.serving.export import seal

    column = json.loads((bundle / "task.json").read_text())["offer"]["column"]
    log = market(Size(customers, customers * EVENTS, OFFERS, 0, 0, 0, 0), folder / "made").log
    shift = to_day("2023-12-31") - int(log.day.max())
    moved = {
        "day": log.day + shift,
        "item_known": log.item_known + shift,
        "items": log.items.rename({"category": column}),
    }
    days = {name: log.meta[name] + shift for name in ("first_day", "last_day")}
    EventLog(**(vars(log) | moved | {"meta": log.meta | days})).save(folder / "log")
    shutil.copytree(bundle, folder / "bundle")
    about = json.loads((bundle / verify.MANIFEST).read_text())
    seal(folder / "bundle", about | {"valid_until": "2024-12-31"})
    return folder


def prepared(folder: Path) -> Iterator[dict[str, Any]]:
    """Pairs a second and core from prepared features: our pass, ONNX Runtime's, and the network's products alone."""
    import numpy as np

    from propensity.data.event_log import EventLog
    from propensity.serving.bundle import Graph, open_bundle
    from propensity.serving.top_k import TopK

    bundle = open_bundle(folder / "bundle")
    log = EventLog.open(folder / "log")
    features, market_stats = bundle.at(log, bundle.date(log, "2024-01-01"))
    rows = np.arange(BLOCK)
    inputs = features.inputs(market_stats, rows)._asdict()
    size = inputs["pair"].shape[0] * inputs["pair"].shape[1]
    fused, graph = bundle.pairs(), Graph(bundle.session())
    best = TopK(inputs["pair"].shape[1], 100, np.arange(len(log), dtype=np.uint64))

    def ranked() -> None:
        best.add(rows, *fused(inputs))

    weights = dict(np.load(folder / "bundle/parts.npz"))
    wide = np.zeros((1024, len(weights["weight"])), np.float32)
    hidden = np.zeros((len(weights["second"]), 1024, weights["second"].shape[1]), np.float32)

    def products() -> None:
        for _ in range(-(-size // 1024)):
            wide @ weights["weight"]
            np.matmul(hidden, weights["second"])

    contenders: dict[str, Callable[[], Any]] = {
        "ours": lambda: fused(inputs),
        "ours, with the best of each offer": ranked,
        "ONNX Runtime": lambda: graph(inputs),
        "the matrix products alone": products,
        "preparing the features": lambda: features.inputs(market_stats, rows),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(ROUNDS + 1):
        for name, call in contenders.items():
            start = time.process_time()
            for _ in range(8):
                call()
            seconds[name] += [(time.process_time() - start) / 8] * (turn > 0)
    for name, spent in seconds.items():
        yield {"what": name, "pairs": size, "pairs_per_cpu_s": size / float(np.median(spent))}


def streamed(folder: Path, customers: int) -> Iterator[dict[str, Any]]:
    """From the log to files, in a process of its own: CPU-seconds, all included, and peak memory."""
    for top in (0, customers // 10):
        out = folder / f"scores-{top}"
        command = [sys.executable, "-c", STREAM, str(folder / "bundle"), str(folder / "log"), str(out), str(top)]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        scored, offers, rows, spent, peak = (float(each) for each in done.stdout.split())
        what = f"the best {top:,} of each offer" if top else "all scores"
        found = {
            "what": what,
            "customers": int(scored),
            "offers": int(offers),
            "rows": int(rows),
            "cpu_s": spent,
            "peak_gb": peak / 1e6,
        }
        yield found | {"wall_s": time.perf_counter() - start}


def served(folder: Path) -> Iterator[dict[str, Any]]:
    """Latency and requests a second of one customer's events for all offers, by wrk on loopback."""
    if shutil.which("wrk") is None:
        print("wrk is not there: the service is not timed (apt-get install wrk)", file=sys.stderr)
        return
    golden = json.loads((folder / "bundle/golden/events.json").read_text())["customers"]
    typical = sorted(golden, key=len)[-1][:60]
    fields = ("day", "kind", "item", "channel", "revenue")
    body = json.dumps({"events": [{k: e[k] for k in fields if k in e} for e in typical]})
    script = folder / "post.lua"
    script.write_text(
        f"wrk.method = 'POST'\nwrk.body = {json.dumps(body)}\nwrk.headers['Content-Type'] = 'application/json'\n"
    )
    command = [sys.executable, "-m", "propensity.cli", "serve", f"bundle={folder / 'bundle'}", f"port={PORT}"]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait()
        for clients in CLIENTS:
            asked = ["wrk", "-t1", f"-c{clients}", f"-d{SECONDS}s", "--latency", "-s", str(script)]
            text = subprocess.run([*asked, f"http://127.0.0.1:{PORT}/score"], capture_output=True, text=True).stdout
            yield {"clients": clients, "load": os.getloadavg()[0]} | read(text)
    finally:
        server.terminate()
        server.wait()


def wait() -> None:
    """Until the service is up."""
    for _ in range(240):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=2)
            return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError("the service did not start")


def read(text: str) -> dict[str, float]:
    """What wrk says, in milliseconds."""
    unit = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    found = {share: re.search(rf"^\s+{share}%\s+([\d.]+)(us|ms|s)\s*$", text, re.M) for share in (50, 99)}
    late = {f"p{share}_ms": float(m[1]) * unit[m[2]] for share, m in found.items() if m}
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return late | {"requests_per_s": float(rate[1]) if rate else 0.0, "refused": int(refused[1]) if refused else 0}


def page(found: dict[str, Any]) -> str:
    """The rows as Markdown."""
    pairs = {row["what"]: row["pairs_per_cpu_s"] for row in found["prepared"]}
    ours = pairs["ours"]
    lines = [f"| {what} | {rate / 1e6:.2f} | {rate / ours:.2f} |" for what, rate in pairs.items()]
    streams = [
        f"| {r['what']} | {r['customers']:,} x {r['offers']} | {r['rows']:,} | {r['cpu_s']:.1f} | "
        f"{r['cpu_s'] / r['customers'] / r['offers'] * 1e6:.2f} | {r['peak_gb']:.2f} |"
        for r in found["streamed"]
    ]
    http = [
        f"| {r['clients']} | {r.get('p50_ms', 0):.1f} | {r.get('p99_ms', 0):.1f} | {r['requests_per_s']:.0f} "
        f"| {r['refused']} |"
        for r in found["served"]
    ]
    newline = "\n"
    load = max((r["load"] for r in found["served"]), default=0.0)
    return f"""{HEADING}

The network of the demo, three members, from its bundle; a made-up market of {OFFERS} offers, {EVENTS} events a
customer. Ways to score prepared features took turns in one process, one thread each, medians of {ROUNDS} rounds.

`{found["command"]}` · {found["machine"]} · commit {found["commit"]} · {found["date"]} · {found["libraries"]}

| from prepared features | million pairs per CPU-second | of ours |
|---|---:|---:|
{newline.join(lines)}

| from the log to files, all included | customers x offers | rows | CPU-seconds | CPU-µs a pair | peak GB |
|---|---:|---:|---:|---:|---:|
{newline.join(streams)}

One customer's 60 events for all {found["offers_served"]} offers of the bundle, by wrk on loopback, {SECONDS} s each,
the service and wrk on the same two cores, beside other work up to a load of {load:.0f}:

| clients | p50, ms | p99, ms | requests a second | not answered 200 |
|---:|---:|---:|---:|---:|
{newline.join(http)}
"""


def measured(bundle: Path, customers: int) -> dict[str, Any]:
    from datetime import date
    from importlib.metadata import version

    from benchmarks.run import commit, machine

    names = ("numba", "numpy", "onnxruntime", "fastapi", "uvicorn")
    offers = json.loads((bundle / "manifest.json").read_text())["golden"]["offers"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = made_up(bundle, Path(temporary), customers)
        rows = {
            "prepared": list(prepared(folder)),
            "streamed": list(streamed(folder, customers)),
            "served": list(served(folder)),
        }
    facts = {"machine": machine(), "commit": commit(), "date": date.today().isoformat(), "offers_served": offers}
    return facts | rows | {"libraries": ", ".join(f"{name} {version(name)}" for name in names)}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks/serving.py", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=HERE, help="folder of serving.json and results.md")
    given = parser.parse_args(arguments)
    found = measured(given.bundle, given.customers)
    found["command"] = f"python benchmarks/serving.py bundle --customers={given.customers}"
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "serving.json").write_text(json.dumps(found, indent=1) + "\n")
    results = given.out / "results.md"
    before = results.read_text() if results.is_file() else "# Speed against rivals\n"
    first, _, after = before.partition(NEXT)
    first = first.split(HEADING)[0].rstrip()
    results.write_text(f"{first}\n\n{page(found)}" + (f"\n{NEXT}{after}" if after else ""))
    print(page(found))


if __name__ == "__main__":
    main()
