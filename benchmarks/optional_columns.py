"""A log with and without times and costs, in turns in one process: `python benchmarks/optional_columns.py`.

Writes a section of results.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(name, "1")

HEADING = "## Optional columns"
OPTIONAL = {"time": "at", "cost": "cogs"}


def measured(events: int, rounds: int, folder: Path) -> dict[str, list[float]]:
    """CPU-seconds of building a log without optional columns, and with them, in each round."""
    import polars as pl

    from benchmarks.market import COLUMNS, Size, export
    from propensity.ingest.build import prepare
    from propensity.ingest.source.table import Table

    raw = folder / "raw"
    export(Size(events // 50, events, 500, 0, 0, 0, 0), raw)
    for file in sorted(raw.glob("lines-*.parquet")):
        lines = pl.read_parquet(file).with_row_index("k")
        clock = pl.col("sold_on").cast(pl.Datetime("ms")) + pl.duration(seconds=pl.col("k") * 7919 % 86_400)
        lines.with_columns(at=clock, cogs=pl.col("paid") * 0.6).drop("k").write_parquet(file)
    sources = {
        "without": COLUMNS,
        "with time and cost": COLUMNS | OPTIONAL,
    }
    spent: dict[str, list[float]] = {name: [] for name in sources}
    for k in range(rounds + 1):
        for name, columns in sources.items():
            source = Table(str(raw / "lines-*.parquet"), columns, items=str(raw / "items.parquet"))
            start = time.process_time()
            log = prepare(source, folder / "log")
            if k:  # the first round compiles
                spent[name].append(time.process_time() - start)
            assert (log.time is not None) == (name != "without")
            print(name, f"{time.process_time() - start:.2f}", flush=True)
    return spent


def page(events: int, spent: dict[str, list[float]], machine: str, commit: str) -> str:
    """The section of results.md."""
    plain = median(spent["without"])
    rows = [
        f"| {name} | {median(each):.2f} [{min(each):.2f}] | {median(each) / plain:.2f} |"
        for name, each in spent.items()
    ]
    lines = "\n".join(rows)
    return f"""{HEADING}

{events:,} raw rows as Parquet become a log that has the time and the cost of each line, and one that has not, from the
same files. The two alternate in one process with one thread; medians of {len(spent["without"])} rounds, with the
smallest in brackets.

`python benchmarks/optional_columns.py --events={events}` · {machine} · commit {commit} · {date.today().isoformat()}

| log | build, CPU-s | relative |
|---|---:|---:|
{lines}
"""


def main(arguments: list[str] | None = None) -> None:
    from benchmarks.ingest import section
    from benchmarks.run import commit, machine

    parser = argparse.ArgumentParser(prog="benchmarks/optional_columns.py", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="rows of the raw table")
    parser.add_argument("--rounds", type=int, default=5, help="builds of each log")
    parser.add_argument("--within", type=Path, help="folder for the raw table and the logs")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of results.md")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.within) as folder:
        spent = measured(options.events, options.rounds, Path(folder))
    text = page(options.events, spent, machine(), commit())
    results = options.out / "results.md"
    results.write_text(section(results.read_text(), HEADING, text))
    print(text)


if __name__ == "__main__":
    main()
