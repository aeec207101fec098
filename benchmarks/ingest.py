"""A raw table of any size to an event log, and one more day appended: `python benchmarks/ingest.py --events=50000000`.

Each step runs in its own process; its peak memory includes the libraries. Writes ingest.json beside this file, with a
row per size, and a section of results.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(name, "1")

HEADING = "## Ingest and append"
NAMES = {"parquet": "Parquet", "csv": "CSV"}
STEP = """
import resource, sys
from pathlib import Path
import polars as pl
from benchmarks.market import COLUMNS, delivery, export, Size
from propensity.ingest.append import append
from propensity.ingest.build import prepare
from propensity.ingest.source.table import Table
step, folder, events, form = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
if step == "generated":
    export(Size(events // 50, events, 500, 0, 0, 0, 0), folder / "raw")
    delivery(folder / "raw", folder / "day", events // 728)
    for file in sorted(folder.glob("*/lines-*.parquet")) if form == "csv" else []:
        pl.read_parquet(file).write_csv(file.with_suffix(".csv"))
        file.unlink()
else:
    raw = folder / ("raw" if step == "built" else "day")
    source = Table(f"{raw}/lines-*.{form}", COLUMNS, items=f"{raw}/items.parquet")
    log = prepare(source, folder / "log") if step == "built" else append(source, folder / "log")
peak = resource.getrusage(resource.RUSAGE_SELF)
print(events if step == "generated" else log.meta["rows"]["used"], peak.ru_utime + peak.ru_stime, peak.ru_maxrss)
"""


def measured(events: int, folder: Path, form: str) -> dict[str, Any]:
    """CPU-seconds, seconds and peak GB of generating the table, building its log and appending a day."""
    result: dict[str, Any] = {"events": events, "form": form}
    for step in ("generated", "built", "appended"):
        start = time.perf_counter()
        command = [sys.executable, "-c", STEP, step, str(folder), str(events), form]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE.parent)
        rows, spent, peak = (float(each) for each in done.stdout.split())
        measurement = {
            "rows": int(rows),
            "cpu_s": spent,
            "wall_s": time.perf_counter() - start,
            "peak_gb": peak * 1024 / 1e9,
        }
        result |= {step: measurement}
        print(step, measurement, flush=True)
    sizes = {name: sum(file.stat().st_size for file in (folder / name).rglob("*.*")) for name in ("raw", "log")}
    return result | {f"{name}_gb": size / 1e9 for name, size in sizes.items()}


def cells(measurement: dict[str, Any]) -> str:
    return f"{measurement['cpu_s']:.3g} | {measurement['peak_gb']:.2f}"


def page(rows: list[dict[str, Any]]) -> str:
    lines = [
        f"| {r['events']:,} {NAMES[r.get('form', 'parquet')]} | {r['raw_gb']:.1f} | {r['log_gb']:.1f} "
        f"| {cells(r['built'])} "
        f"| {r['appended']['rows'] - r['built']['rows']:,} | {cells(r['appended'])} | {r['commit']} |"
        for r in rows
    ]
    about, command = rows[-1], f"python benchmarks/ingest.py --events={rows[-1]['events']}"
    newline = "\n"
    return f"""{HEADING}

Unsorted Parquet or CSV in files of five million rows, each row checked by every rule, becomes a log on disk; then one
more day is appended. Each step runs in its own process with one thread; its peak includes libraries and mapped files.

`{command}` (and the other sizes; `--csv`) · {about["machine"]} · {about["date"]}

| raw rows | raw GB | log GB | build, CPU-s | peak GB | events of the day | append, CPU-s | peak GB | commit |
|---:|---:|---:|---:|---:|---:|---:|---:|---|
{newline.join(lines)}

Rows are partitioned on disk by ranges of customers and the ranges are sorted one at a time, so memory does not grow
with the rows; only a few numbers per customer do. Appending a day reads, sorts and encodes that day alone. Up to the
commit 5baeb5e an append rewrote and hashed every column, 29 bytes an event, which is linear in the log; since then it
writes a segment, see "Append and segments".
"""


def section(text: str, heading: str, new: str) -> str:
    """The page with one of its sections replaced, or added at its end."""
    before, present, after = text.partition(f"{heading}\n")
    _, mark, rest = after.partition("\n## ")
    return f"{before.rstrip()}\n\n{new.rstrip()}\n{mark}{rest}" if present else f"{text.rstrip()}\n\n{new}"


def main(arguments: list[str] | None = None) -> None:
    from benchmarks.run import commit, machine

    parser = argparse.ArgumentParser(prog="benchmarks/ingest.py", description=__doc__)
    parser.add_argument("--events", type=int, default=50_000_000, help="rows of the raw table")
    parser.add_argument("--csv", action="store_true", help="the raw table as CSV")
    parser.add_argument("--within", type=Path, help="folder for the raw table and the log; about 150 bytes a row")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of ingest.json and results.md")
    options = parser.parse_args(arguments)
    row: dict[str, Any] = {"machine": machine(), "commit": commit(), "date": date.today().isoformat()}
    form = "csv" if options.csv else "parquet"
    with tempfile.TemporaryDirectory(dir=options.within) as folder:
        row |= measured(options.events, Path(folder), form)
    options.out.mkdir(parents=True, exist_ok=True)
    before, results = options.out / "ingest.json", options.out / "results.md"
    rows = json.loads(before.read_text()) if before.is_file() else []
    others = [r for r in rows if (r["events"], r.get("form", "parquet")) != (options.events, form)]
    rows = sorted([*others, row], key=lambda r: (r["events"], r.get("form", "parquet") == "csv"))
    before.write_text(json.dumps(rows, indent=1) + "\n")
    text = results.read_text() if results.is_file() else "# Speed compared with reference implementations\n"
    results.write_text(section(text, HEADING, page(rows)))
    print(page(rows))


if __name__ == "__main__":
    main()
