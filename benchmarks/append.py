"""Appends to logs of different sizes, and reads with and without segments: `python benchmarks/append.py`.

The same delivery is appended to a small and to a large log, in turns, each time in a process of its own and to the same
log. Market statistics and the inputs of all customers are then computed from a log with segments and from the same log
compacted, in turns. Writes a section of results.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(name, "1")

HEADING = "## Append and segments"
DAYS, EVENTS_OF_A_CUSTOMER, ITEMS, OFFERS, ROUNDS, SEGMENTS = 728, 50, 5_000, 50, 5, 30
BATCH = 100_000  # customers generated at a time
BLOCK = 512  # customers whose inputs are in memory at a time
COLUMNS = {each: each for each in ("customer", "day", "item", "order", "quantity", "revenue", "discount")}
STEP = """
import sys, time
import numpy, polars
from pathlib import Path
from benchmarks.append import source_of
from propensity.ingest.append import append
source = source_of(Path(sys.argv[2]))
start = time.process_time()
append(source, sys.argv[1])
print(time.process_time() - start, time.process_time())
"""


def main(arguments: list[str] | None = None) -> None:
    from benchmarks.ingest import section
    from benchmarks.run import commit, machine

    parser = argparse.ArgumentParser(prog="benchmarks/append.py", description=__doc__)
    parser.add_argument("--events", type=int, nargs=2, default=[1_000_000, 100_000_000], help="sizes of the logs")
    parser.add_argument("--lines", type=int, default=135_000, help="lines of the delivery")
    parser.add_argument("--read", type=int, default=5_000_000, help="events of the log that is read")
    parser.add_argument(
        "--late", type=float, default=0.0, help="share of the lines that are of one of the 3 days before"
    )
    parser.add_argument("--within", type=Path, help="folder for the logs; about 40 bytes an event")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of results.md")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.within) as folder:
        appended = append_costs(options.events, options.lines, Path(folder), options.late)
        read = read_costs(options.read, Path(folder), options.late)
    results = options.out / "results.md"
    about = f"{machine()} · {date.today().isoformat()} · {commit()}"
    text = results.read_text() if results.is_file() else "# Speed compared with reference implementations\n"
    results.write_text(section(text, HEADING, page(appended, read, options, about)))
    print(page(appended, read, options, about))


def source_of(folder: Path) -> Any:
    """The delivery in a folder."""
    from propensity.ingest.source.table import Table

    return Table(str(folder / "lines.parquet"), dict(COLUMNS))


def base_log(events: int, folder: Path) -> None:
    """Write a log of about `events` events, sorted and coded as ingest would."""
    import numpy as np
    import polars as pl

    from benchmarks.market import START
    from propensity.data.column_store import ColumnFiles, mapped_columns
    from propensity.data.event_log import COLUMNS as TYPES
    from propensity.data.event_log import EventLog

    random = np.random.default_rng(0)
    customers, size = events // EVENTS_OF_A_CUSTOMER, EVENTS_OF_A_CUSTOMER
    folder.mkdir(parents=True)
    with ColumnFiles(folder, TYPES) as files:
        for start in range(0, customers, BATCH):
            count = min(BATCH, customers - start)
            day = np.sort(random.integers(0, DAYS, (count, size)), axis=1)
            first = np.diff(day, axis=1, prepend=-1) > 0
            amount = random.gamma(2.0, 3.0, count * size).round(2)
            zeros = np.zeros(count * size)
            files.append({
                "day": START + day.ravel(), "item": items_of(random, count * size), "kind": zeros, "channel": zeros - 1,
                "order": (np.cumsum(first, axis=1) - 1).ravel(), "quantity": zeros + 1, "revenue": amount,
                "discount": zeros,
            })  # fmt: skip
    counts = {"in": customers * size, "used": customers * size, "merged": {}, "quarantined": {}, "dropped": {}}
    meta = {"rows": counts, "warnings": {}, "channels": [], "first_day": START, "last_day": START + DAYS - 1}
    log = EventLog(
        item_known=np.full(ITEMS, START - 1, np.int32),
        customers=pl.DataFrame({"customer": [f"c{n:08d}" for n in range(customers)]}),
        items=pl.DataFrame({"item": [f"i{n:05d}" for n in range(ITEMS)]}).with_columns(
            category=pl.Series([f"g{n % OFFERS:02d}" for n in range(ITEMS)])
        ),
        meta=meta,
        **mapped_columns(folder, np.full(customers, size), TYPES),
    )
    log.seal(folder)


def items_of(random: Any, size: int) -> Any:
    """Codes of items: a few are bought often."""
    import numpy as np

    return np.minimum(random.geometric(8 / ITEMS, size), ITEMS - 1)


def delivery(folder: Path, lines: int, customers: int, day: int, seed: int, late: float = 0.0) -> None:
    """Write the lines of a day, some of them of the 3 days before: one in a hundred is of a new customer."""
    import numpy as np
    import polars as pl

    from benchmarks.market import START

    random = np.random.default_rng(seed)
    who = random.integers(0, customers, lines)
    new = random.random(lines) < 0.01
    days = START + DAYS + day - np.where(random.random(lines) < late, random.integers(1, 4, lines), 0)
    folder.mkdir(parents=True)
    ids = [f"c{n:08d}x" if added else f"c{n:08d}" for n, added in zip(who.tolist(), new.tolist(), strict=True)]
    pl.DataFrame(
        {
            "customer": ids,
            "day": pl.Series(days.astype(np.int32)).cast(pl.Date),
            "item": [f"i{n:05d}" for n in items_of(random, lines).tolist()],
            "order": who + 10_000_000 * day,
            "quantity": np.ones(lines),
            "revenue": random.gamma(2.0, 3.0, lines).round(2),
            "discount": np.zeros(lines),
        }
    ).write_parquet(folder / "lines.parquet")


def append_costs(sizes: list[int], lines: int, folder: Path, late: float = 0.0) -> list[dict[str, Any]]:
    """CPU-seconds of appending one delivery to logs of different sizes, in turns, and bytes that it adds."""
    logs = [folder / f"log-{size}" for size in sizes]
    for size, log in zip(sizes, logs, strict=True):
        base_log(size, log)
    delivery(folder / "day", lines, min(sizes) // EVENTS_OF_A_CUSTOMER, 0, 1, late)
    own: dict[int, list[tuple[float, float]]] = {size: [] for size in sizes}
    for k in range(ROUNDS + 1):  # the first round compiles
        for size, log in list(zip(sizes, logs, strict=True))[:: 1 if k % 2 else -1]:
            shutil.rmtree(log / "segments", ignore_errors=True)
            (log / "segments.json").unlink(missing_ok=True)
            command = [sys.executable, "-c", STEP, str(log), str(folder / "day")]
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE.parent)
            spent, whole = (float(each) for each in done.stdout.split())
            own[size] += [(spent, whole)] * (k > 0)
    added = [sum(file.stat().st_size for file in (log / "segments").rglob("*.*")) for log in logs]
    delivered = (folder / "day" / "lines.parquet").stat().st_size
    rows = [
        {
            "events": size,
            "cpu_s": statistics.median(each[0] for each in own[size]),
            "process_s": statistics.median(each[1] for each in own[size]),
            "bytes": count,
            "delivered": delivered,
        }
        for size, count in zip(sizes, added, strict=True)
    ]
    for log in logs:
        shutil.rmtree(log)
    print(json.dumps(rows), flush=True)
    return rows


def read_costs(events: int, folder: Path, late: float = 0.0) -> dict[str, Any]:
    """CPU-seconds of market statistics and all inputs from a log with segments, and from the same log compacted."""
    from propensity.ingest.append import append
    from propensity.ingest.compact import compact

    log = folder / "read"
    base_log(events, log)
    for day in range(SEGMENTS):
        delivery(folder / f"day-{day}", events // DAYS, events // EVENTS_OF_A_CUSTOMER, day, 2 + day, late)
        append(source_of(folder / f"day-{day}"), log)
    shutil.copytree(log, folder / "whole")
    compact(folder / "whole")
    spent: dict[str, list[float]] = {"read": [], "whole": []}
    sums = set()
    for k in range(ROUNDS + 1):
        for name in ("read", "whole")[:: 1 if k % 2 else -1]:
            start = time.process_time()
            sums.add(read_all(folder / name))
            spent[name] += [time.process_time() - start] * (k > 0)
    assert len(sums) == 1, "a log with segments has other inputs than the same log compacted"
    result = {"events": events, **{name: statistics.median(each) for name, each in spent.items()}}
    print(json.dumps(result), flush=True)
    return result


def read_all(folder: Path) -> float:
    """Market statistics at the end of a log and the inputs of all its customers; returns a sum of them."""
    import numpy as np

    from propensity.data.cutoff import Cutoff
    from propensity.data.event_log import EventLog
    from propensity.data.offer import offers_before
    from propensity.data.offer.column import ColumnOffers
    from propensity.data.vocabulary import Vocabulary
    from propensity.feature.features import FeatureConfig, Features
    from propensity.feature.market_stats import MarketStatsBuilder, MarketStatsConfig

    log = EventLog.open(folder)
    day = log.last_day + 1
    past = log.before(day)
    config, feature = ColumnOffers(column="category", min_buyers=1), FeatureConfig()
    offers = offers_before(past, config, day)
    features = Features(past, offers, Vocabulary.fit(past, config, day), feature)
    builder = MarketStatsBuilder(past, offers, 14, MarketStatsConfig(), *feature.market_groups)
    market_stats = builder.at(Cutoff(day, 14))
    rows, total = past.purchasers(day), 0.0
    for start in range(0, rows.size, BLOCK):
        inputs = features.inputs(market_stats, rows[start : start + BLOCK])
        total += float(np.nansum(inputs.pair[:, :, 0], dtype=np.float64)) + float(inputs.length.sum())
    return total


def page(appended: list[dict[str, Any]], read: dict[str, Any], options: Any, about: str) -> str:
    small, large = appended
    lines = "\n".join(
        f"| {row['events']:,} | {row['cpu_s']:.2f} | {row['process_s']:.2f} | {row['bytes']:,} |" for row in appended
    )
    slower = read["read"] / read["whole"] - 1
    command = f"python benchmarks/append.py --events {options.events[0]} {options.events[1]} --read {options.read}"
    command += f" --late {options.late}" if options.late else ""
    return f"""{HEADING}

One delivery of {options.lines:,} lines, {small["delivered"]:,} bytes as Parquet, is appended to a small and to a large
log, in turns, each time in its own process with one thread; median of {ROUNDS}. Then market statistics and the inputs
of all customers are computed from a log with {SEGMENTS} segments and from the same log compacted.

`{command}` · {about}

| events of the log | append, CPU-s | with start and imports | bytes added |
|---:|---:|---:|---:|
{lines}

Appending to the larger log costs {large["cpu_s"] / small["cpu_s"]:.2f} times as much, and adds
{large["bytes"] / large["delivered"]:.2f} times the bytes of the delivery. Reading {read["events"]:,} events with
{SEGMENTS} segments takes {read["read"]:.2f} CPU-s and {read["whole"]:.2f} without: {slower:+.1%}.
"""


if __name__ == "__main__":
    main()
