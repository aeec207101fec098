"""Our kernels against their rivals: `python benchmarks/run.py` (`--quick`: a tenth of the size).

Prints a table, and leaves results.json and results.md beside this file.
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
    os.environ.setdefault(name, "1")  # waiting threads would count as work; before the libraries are imported

if TYPE_CHECKING:
    from benchmarks.market import PointInTimeFeatures, Size
    from benchmarks.race import Race, Row


def sizes(name: str) -> Size:
    from benchmarks.market import Size

    return {
        "smallest": Size(300, 6_000, 20, ranked=400, ranked_offers=2, resamples=3, batch=16),
        "quick": Size(20_000, 1_000_000, 200, ranked=50_000, ranked_offers=20, resamples=50, batch=256),
        "full": Size(200_000, 10_000_000, 500, ranked=1_000_000, ranked_offers=300, resamples=200, batch=1024),
    }[name]


def measure(size: Size, rounds: int, only: str, keep: Path | None) -> tuple[list[Row], dict[str, Any]]:
    """Rows of one part or of both, and what else was measured beside them. AssertionError where a rival disagrees.

    keep: folder whose market is used again, or left there.
    """
    from benchmarks.loading import loading
    from benchmarks.market import market

    with tempfile.TemporaryDirectory() as folder:
        made = market(size, keep or Path(folder))
        rows: list[Row] = []
        more: dict[str, Any] = {}
        if only in ("", "work"):
            rows += [timed(race, rounds) for race in work_races(made, size)]
            more["loading"] = loading(made, rounds)
        if only in ("", "windows"):
            rows += [timed(race, rounds) for race in window_races(made)] + [memory_row(made)]
            more |= beside(made)
        return sorted(rows, key=place), more


def place(row: Row) -> int:
    """Of a row in the table."""
    return ORDER.index(row.name.split()[0])


def timed(race: Race, rounds: int) -> Row:
    from benchmarks.race import run

    row = run(race, rounds)
    print(f"{row.name} | {row.rival} | {row.ratio:.2f} | gate {row.gate:g} | {row.ours_cpu_s:.4g} s", flush=True)
    return row


def window_races(made: PointInTimeFeatures) -> Iterator[Race]:
    """One at a time, so that the arrays of one are gone when the next begins."""
    from benchmarks.windows import BEST, DUCKDB, POLARS, Scene, cost_race, customer_race, pair_race

    scene = Scene.of(made)
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


def work_races(made: PointInTimeFeatures, size: Size) -> Iterator[Race]:
    """The whole way, metrics and batches."""
    from benchmarks.batch import bucket_race, collation_race
    from benchmarks.ranking import metric_race
    from benchmarks.straight import straight_race

    yield straight_race(made, gate=5, aim=10)
    yield metric_race(size, gate=300, aim=1000)
    yield collation_race(made, size.batch, gate=25, aim=50)
    yield bucket_race(made, size.batch, gate=2.5, aim=3.5)


def memory_row(made: PointInTimeFeatures) -> Row:
    """How far the process grows while windows of twelve cutoffs are written, output apart, over what is read."""
    import numpy as np

    from benchmarks.race import Row, cpu_seconds, measured
    from benchmarks.windows import all_pairs, our_customers, read_bytes

    customers, read = our_customers(made, 12), read_bytes(made)

    def ours() -> None:
        customers()
        all_pairs(made, 12)

    ours()
    (took, grown), columns = measured(ours), [np.array(getattr(made.log, name)) for name in ("day", "order", "revenue")]
    copied = cpu_seconds(lambda: [column.copy() for column in columns])
    ratio = grown * 1e6 / sum(read.values())
    why = "" if ratio <= 0.05 else f"the process grew by {grown:.1f} MB."
    name = "memory beyond input and output, customer and pair windows"
    numbers = max(ratio, 1e-6), 0.05, ratio <= 0.05, took, copied
    return Row(name, "bytes of the columns read", *numbers, why, None, True, grown, sum(read.values()) / 1e6)


def beside(made: PointInTimeFeatures) -> dict[str, Any]:
    """Copy bandwidth of this machine, and what each kernel reads and writes."""
    import numpy as np

    from benchmarks.query import HALF_LIVES, WINDOWS
    from benchmarks.race import cpu_seconds
    from benchmarks.windows import all_pairs, our_customers, our_pairs, read_bytes

    source, target = np.ones(25_000_000), np.zeros(25_000_000)
    seconds = min(cpu_seconds(lambda: np.copyto(target, source)) for _ in range(5))
    kernels: dict[str, dict[str, float]] = {}
    columns = 2 * len(WINDOWS) + len(HALF_LIVES) + 2
    for dates in (1, 12):
        written = len(made.log) * columns * dates * 4
        call = our_customers(made, dates)
        call()
        kernels[f"customer_{dates}"] = _traffic(read_bytes(made)["customer"], written, cpu_seconds(call))
        took = cpu_seconds(partial(all_pairs, made, dates))
        written = sum(out.nbytes for _, _, out in our_pairs(made, dates))
        kernels[f"pair_{dates}"] = _traffic(read_bytes(made)["pair"], written, took)
    return {"copy_gb_s": 2 * source.nbytes / max(seconds, 1e-9) / 1e9, "kernels": kernels}


def _traffic(read: int, written: int, seconds: float) -> dict[str, float]:
    return {"read_mb": read / 1e6, "written_mb": written / 1e6, "gb_s": (read + written) / max(seconds, 1e-9) / 1e9}


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {platform.system()}"


def commit() -> str:
    """The commit of the code, marked where files have changed since."""
    asked = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(asked, cwd=HERE, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def versions() -> str:
    from importlib.metadata import version

    names = ("duckdb", "numba", "numpy", "polars", "scikit-learn", "torch")
    return ", ".join(f"{name} {version(name).split('+')[0]}" for name in names)


def save(rows: list[Row], more: dict[str, Any], command: str, size: Size, rounds: int, folder: Path) -> None:
    """results.json for programs, results.md for people; sections below ours stay."""
    about = {"machine": machine(), "commit": commit(), "date": date.today().isoformat(), "command": command}
    about |= {"libraries": versions()}
    made: dict[str, Any] = about | {"size": size._asdict(), "rounds": rounds, "rows": [row._asdict() for row in rows]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(made | {"beside": more}, indent=1) + "\n")
    results = folder / "results.md"
    _, heading, after = (results.read_text() if results.is_file() else "").partition("\n## ")
    results.write_text(page(rows, more, about, size, rounds) + (heading + after if heading else ""))


def joined(rows: list[Row], more: dict[str, Any], folder: Path) -> tuple[list[Row], dict[str, Any]]:
    """The rows, and those of the other half as they were written last."""
    from benchmarks.race import Row

    before = json.loads((folder / "results.json").read_text()) if (folder / "results.json").is_file() else {}
    kept = [Row(**row) for row in before.get("rows", []) if set(row) == set(Row._fields)]
    new = {(row.name, row.rival) for row in rows}
    kept = [row for row in kept if (row.name, row.rival) not in new]
    return sorted([*rows, *kept], key=place), before.get("beside", {}) | more


def page(rows: list[Row], more: dict[str, Any], about: dict[str, str], size: Size, rounds: int) -> str:
    from benchmarks.loading import section as loaded

    table = "\n".join(f"| {' | '.join(cells(row))} |" for row in rows)
    missed = "\n".join(f"- **{r.name}**, {r.rival}: {r.why}" for r in rows if not r.met)
    speed = more.get("copy_gb_s", float("nan"))
    traffic = "\n".join(
        f"| {name.replace('_', ' windows, ')} cutoff{'s' * name.endswith('12')} | {t['read_mb']:.0f} "
        f"| {t['written_mb']:.0f} | {t['gb_s']:.1f} | {t['gb_s'] / speed:.0%} |"
        for name, t in more.get("kernels", {}).items()
    )
    waiting = loaded(more["loading"]) if "loading" in more else ""
    return f"""# Speed against rivals

A made-up market of {size.events:,} events, {size.customers:,} customers and {size.offers} offers. Results were
checked equal, then both ran in turns in one process: medians of {rounds} rounds, in CPU-seconds, one thread each. A
ratio is the rival's seconds over ours, or, where the gate is a limit (<=), ours over the rival's; a gate is what we set
out to reach. A query per cutoff is asked for another cutoff in each round, and counts twelve times. Peaks are how far
the process grew in one call, output included where it is new.

`{about["command"]}` · {about["machine"]} · commit {about["commit"]} · {about["date"]} · {about["libraries"]}

| what | rival | ours, s | rival, s | ratio | gate | aim | met | peak MB, ours | rival |
|---|---|---:|---:|---:|---:|---:|---|---:|---:|
{table}

{"Why gates were missed:" if missed else "No gate was missed."}

{missed}

### Where the limit is

This machine copies {speed:.1f} GB/s (read and written, one thread, same run).

| kernel | MB read | MB written | GB/s | of the copy |
|---|---:|---:|---:|---:|
{traffic}

{waiting}"""


def cells(row: Row) -> list[str]:
    """A row of the table, as text."""
    sign = "<= " if row.limit else ""
    aim = "" if row.aim is None else f"{sign}{row.aim:g}"
    numbers = f"{row.ours_cpu_s:.4g}", f"{row.rival_cpu_s:.4g}", f"{row.ratio:.3g}", f"{sign}{row.gate:g}", aim
    return [
        row.name,
        row.rival,
        *numbers,
        "yes" if row.met else "no",
        *(f"{peak:.1f}" if peak else "-" for peak in (row.ours_peak_mb, row.rival_peak_mb)),
    ]


def show(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("what", "rival", "ratio", "gate", "aim", "met")
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
    given = parser.parse_args(arguments)
    name = given.size or "full"
    command = " ".join(["python benchmarks/run.py", *([f"--{name}"] if given.size else [])])
    rows, more = measure(sizes(name), given.rounds, given.only, given.keep)
    if given.only:
        rows, more = joined(rows, more, given.out)
    save(rows, more, command, sizes(name), given.rounds, given.out)
    show(rows)


if __name__ == "__main__":
    main()
