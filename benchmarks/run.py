"""Our kernels and reference implementations: `python benchmarks/run.py` (`--quick`: a tenth of the size).

Prints a table and writes results.json and results.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).parent
ORDER = ("customer", "pair", "cost", "memory", "raw", "AUC,", "collation", "training")  # first words of the rows
sys.path.insert(0, str(HERE.parent))  # so that `benchmarks` is found when this file is run
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(name, "1")  # before the libraries are imported: busy-waiting threads would count as CPU time

if TYPE_CHECKING:
    from benchmarks.market import Market, Size
    from benchmarks.race import Race, Row


def sizes(name: str) -> Size:
    from benchmarks.market import Size

    return {
        "smallest": Size(300, 6_000, 20, ranked=400, ranked_offers=2, resamples=3, batch=16),
        "quick": Size(20_000, 1_000_000, 200, ranked=50_000, ranked_offers=20, resamples=50, batch=256),
        "full": Size(200_000, 10_000_000, 500, ranked=1_000_000, ranked_offers=300, resamples=200, batch=1024),
    }[name]


def measure(size: Size, rounds: int, only: str, keep: Path | None) -> tuple[list[Row], dict[str, Any]]:
    """Rows of one part or of both, and further measurements. AssertionError where a reference gives another result.

    keep: folder of a market to reuse, or to create.
    """
    from benchmarks.loading import loading
    from benchmarks.market import market

    with tempfile.TemporaryDirectory() as folder:
        synthetic = market(size, keep or Path(folder))
        rows: list[Row] = []
        more: dict[str, Any] = {}
        if only in ("", "work"):
            rows += [timed(race, rounds) for race in work_races(synthetic, size)]
            more["loading"] = loading(synthetic, rounds)
        if only in ("", "windows"):
            rows += [timed(race, rounds) for race in window_races(synthetic)] + [memory_row(synthetic)]
            more |= beside(synthetic)
        return sorted(rows, key=place), more


def place(row: Row) -> int:
    """Place of a row in the table."""
    return ORDER.index(row.name.split()[0])


def timed(race: Race, rounds: int) -> Row:
    from benchmarks.race import run

    row = run(race, rounds)
    print(f"{row.name} | {row.reference} | {row.ratio:.2f} | gate {row.gate:g} | {row.ours_cpu_s:.4g} s", flush=True)
    return row


def window_races(synthetic: Market) -> Iterator[Race]:
    """One at a time, so that the arrays of one are freed before the next starts."""
    from benchmarks.windows import BEST, DUCKDB, POLARS, Scene, cost_race, customer_race, pair_race

    scene = Scene.of(synthetic)
    yield customer_race(scene, 12, POLARS, gate=40, aim=100)
    yield customer_race(scene, 12, BEST, gate=40, aim=100)
    yield customer_race(scene, 12, DUCKDB, gate=65, aim=150)
    yield customer_race(scene, 1, POLARS, gate=12, aim=25)
    yield customer_race(scene, 1, BEST, gate=12, aim=25)
    yield customer_race(scene, 1, DUCKDB, gate=18, aim=40)
    yield pair_race(scene, 12, BEST, gate=16, aim=40)
    yield pair_race(scene, 1, POLARS, gate=5, aim=12)
    yield pair_race(scene, 1, DUCKDB, gate=7, aim=12)
    yield cost_race(scene, gate=3.5, aim=2.5)


def work_races(synthetic: Market, size: Size) -> Iterator[Race]:
    """From raw table to windows, metrics and batches."""
    from benchmarks.batch import bucket_race, collation_race
    from benchmarks.ranking import metric_race
    from benchmarks.straight import straight_race

    yield straight_race(synthetic, gate=5, aim=10)
    yield metric_race(size, gate=300, aim=1000)
    yield collation_race(synthetic, size.batch, gate=25, aim=50)
    yield bucket_race(synthetic, size.batch, gate=2.5, aim=3.5)


def memory_row(synthetic: Market) -> Row:
    """Growth of the process while windows of twelve cutoffs are written, without the output, over the bytes read."""
    import numpy as np

    from benchmarks.race import Row, cpu_seconds, measured
    from benchmarks.windows import all_pairs, our_customers, read_bytes

    customers, read = our_customers(synthetic, 12), read_bytes(synthetic)

    def ours() -> None:
        customers()
        all_pairs(synthetic, 12)

    ours()
    (took, grown), columns = (
        measured(ours),
        [np.array(getattr(synthetic.log, name)) for name in ("day", "order", "revenue")],
    )
    copied = cpu_seconds(lambda: [column.copy() for column in columns])
    ratio = grown * 1e6 / sum(read.values())
    why = "" if ratio <= 0.05 else f"the process grew by {grown:.1f} MB."
    name = "memory beyond input and output, customer and pair windows"
    numbers = max(ratio, 1e-6), 0.05, ratio <= 0.05, took, copied
    return Row(name, "bytes of the columns read", *numbers, why, None, True, grown, sum(read.values()) / 1e6)


def beside(synthetic: Market) -> dict[str, Any]:
    """Copy bandwidth of this machine and the bytes that each kernel reads and writes."""
    import numpy as np

    from benchmarks.query import HALF_LIVES, WINDOWS
    from benchmarks.race import cpu_seconds
    from benchmarks.windows import all_pairs, our_customers, our_pairs, read_bytes

    source, target = np.ones(25_000_000), np.zeros(25_000_000)
    seconds = min(cpu_seconds(lambda: np.copyto(target, source)) for _ in range(5))
    kernels: dict[str, dict[str, float]] = {}
    columns = 2 * len(WINDOWS) + len(HALF_LIVES) + 2
    for dates in (1, 12):
        written = len(synthetic.log) * columns * dates * 4
        call = our_customers(synthetic, dates)
        call()
        kernels[f"customer_{dates}"] = _traffic(read_bytes(synthetic)["customer"], written, cpu_seconds(call))
        took = cpu_seconds(partial(all_pairs, synthetic, dates))
        written = sum(out.nbytes for _, _, out in our_pairs(synthetic, dates))
        kernels[f"pair_{dates}"] = _traffic(read_bytes(synthetic)["pair"], written, took)
    return {"copy_gb_s": 2 * source.nbytes / max(seconds, 1e-9) / 1e9, "kernels": kernels}


def _traffic(read: int, written: int, seconds: float) -> dict[str, float]:
    return {"read_mb": read / 1e6, "written_mb": written / 1e6, "gb_s": (read + written) / max(seconds, 1e-9) / 1e9}


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {platform.system()}"


def commit() -> str:
    """The commit of the code, with -dirty where files have changed since."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def versions() -> str:
    from importlib.metadata import version

    names = ("duckdb", "numba", "numpy", "polars", "scikit-learn", "torch")
    return ", ".join(f"{name} {version(name).split('+')[0]}" for name in names)


def save(rows: list[Row], more: dict[str, Any], command: str, size: Size, rounds: int, folder: Path) -> None:
    """Writes results.json and the first part of results.md; sections of other benchmarks stay."""
    about = {"machine": machine(), "commit": commit(), "date": date.today().isoformat(), "command": command}
    about |= {"libraries": versions()}
    results: dict[str, Any] = about | {
        "size": size._asdict(),
        "rounds": rounds,
        "rows": [row._asdict() for row in rows],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results | {"beside": more}, indent=1) + "\n")
    page_file = folder / "results.md"
    _, heading, after = (page_file.read_text() if page_file.is_file() else "").partition("\n## ")
    page_file.write_text(page(rows, more, about, size, rounds) + (heading + after if heading else ""))


def joined(rows: list[Row], more: dict[str, Any], folder: Path) -> tuple[list[Row], dict[str, Any]]:
    """The rows, and those of the other half from results.json."""
    from benchmarks.race import Row

    before = json.loads((folder / "results.json").read_text()) if (folder / "results.json").is_file() else {}
    kept = [Row(**row) for row in before.get("rows", []) if set(row) == set(Row._fields)]
    new = {(row.name, row.reference) for row in rows}
    kept = [row for row in kept if (row.name, row.reference) not in new]
    return sorted([*rows, *kept], key=place), before.get("beside", {}) | more


def page(rows: list[Row], more: dict[str, Any], about: dict[str, str], size: Size, rounds: int) -> str:
    from benchmarks.loading import section as loaded

    table = "\n".join(f"| {' | '.join(cells(row))} |" for row in rows)
    missed = "\n".join(f"- **{r.name}**, {r.reference}: {r.why}" for r in rows if not r.met)
    speed = more.get("copy_gb_s", float("nan"))
    traffic = "\n".join(
        f"| {name.replace('_', ' windows, ')} cutoff{'s' * name.endswith('12')} | {t['read_mb']:.0f} "
        f"| {t['written_mb']:.0f} | {t['gb_s']:.1f} | {t['gb_s'] / speed:.0%} |"
        for name, t in more.get("kernels", {}).items()
    )
    waiting = loaded(more["loading"]) if "loading" in more else ""
    return f"""# Speed compared with reference implementations

A synthetic market of {size.events:,} events, {size.customers:,} customers and {size.offers} offers. Results were
checked equal, then both ran in turns in one process: medians of {rounds} rounds, in CPU-seconds, one thread each. A
ratio is the reference's seconds over ours, or, where the gate is a limit (<=), ours over the reference's; a gate is the
required ratio. A query per cutoff runs for another cutoff in each round and counts twelve times. A peak is the growth
of the process in one call, with the output where it is new.

`{about["command"]}` · {about["machine"]} · commit {about["commit"]} · {about["date"]} · {about["libraries"]}

| what | reference | ours, s | reference, s | ratio | gate | aim | met | peak MB, ours | reference |
|---|---|---:|---:|---:|---:|---:|---|---:|---:|
{table}

{"Why gates were missed:" if missed else "No gate was missed."}

{missed}

### Memory bandwidth

This machine copies {speed:.1f} GB/s (read and written, one thread, same run).

| kernel | MB read | MB written | GB/s | of the copy |
|---|---:|---:|---:|---:|
{traffic}

{waiting}"""


def cells(row: Row) -> list[str]:
    """A row of the table, as text."""
    sign = "<= " if row.limit else ""
    aim = "" if row.aim is None else f"{sign}{row.aim:g}"
    numbers = f"{row.ours_cpu_s:.4g}", f"{row.reference_cpu_s:.4g}", f"{row.ratio:.3g}", f"{sign}{row.gate:g}", aim
    return [
        row.name,
        row.reference,
        *numbers,
        "yes" if row.met else "no",
        *(f"{peak:.1f}" if peak else "-" for peak in (row.ours_peak_mb, row.reference_peak_mb)),
    ]


def show(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("what", "reference", "ratio", "gate", "aim", "met")
    for row in rows:
        table.add_row(*cells(row)[:2], *cells(row)[4:8])
    Console().print(table)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    parser.add_argument("--quick", action="store_const", const="quick", dest="size", help="under two minutes")
    parser.add_argument("--smallest", action="store_const", const="smallest", dest="size", help="seconds, for a test")
    parser.add_argument("--only", choices=("windows", "work"), default="", help="half of the rows, the others kept")
    parser.add_argument("--keep", type=Path, help="folder to make the market in, or to find it in again")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=HERE, help="folder of results.json and results.md")
    options = parser.parse_args(arguments)
    name = options.size or "full"
    command = " ".join(["python benchmarks/run.py", *([f"--{name}"] if options.size else [])])
    rows, more = measure(sizes(name), options.rounds, options.only, options.keep)
    if options.only:
        rows, more = joined(rows, more, options.out)
    save(rows, more, command, sizes(name), options.rounds, options.out)
    show(rows)


if __name__ == "__main__":
    main()
