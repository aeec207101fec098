"""Our kernels against their rivals: `python benchmarks/run.py` (`--quick`: a fifth of the size).

Prints a table, and leaves results.json and results.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # so that `benchmarks` is found when this file is run
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # waiting threads would count as work; before NumPy is imported

if TYPE_CHECKING:
    from benchmarks.market import Size
    from benchmarks.race import Race, Row


def sizes(name: str) -> Size:
    from benchmarks.market import Size

    return {
        "smallest": Size(300, 6_000, 20, ranked=400, ranked_offers=2, resamples=3, batch=16),
        "quick": Size(20_000, 1_000_000, 300, ranked=50_000, ranked_offers=20, resamples=50, batch=256),
        "full": Size(100_000, 5_000_000, 300, ranked=50_000, ranked_offers=20, resamples=200, batch=1024),
    }[name]


def races(size: Size) -> Iterator[Race]:
    """One at a time, so that the arrays of one are gone when the next begins."""
    from benchmarks.batch import history_race, input_race
    from benchmarks.market import market
    from benchmarks.ranking import metric_race
    from benchmarks.windows import customer_race, pair_race

    made = market(size)
    yield customer_race(made, dates=12, gate=40)
    yield customer_race(made, dates=1, gate=12)
    yield pair_race(made, gate=5)
    yield metric_race(size, gate=300)
    yield input_race(made, size.batch, gate=25)
    yield history_race(made, size.batch, gate=25)


def measure(size: Size, rounds: int) -> list[Row]:
    """AssertionError where ours and a rival disagree."""
    from benchmarks.race import run

    return [run(race, rounds) for race in races(size)]


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

    names = ("numba", "numpy", "polars", "scikit-learn", "torch")
    return ", ".join(f"{name} {version(name).split('+')[0]}" for name in names)


def save(rows: list[Row], command: str, size: Size, rounds: int, folder: Path) -> None:
    """results.json for programs, results.md for people."""
    about = {"machine": machine(), "commit": commit(), "date": date.today().isoformat(), "command": command}
    about |= {"libraries": versions()}
    made: dict[str, Any] = about | {"size": size._asdict(), "rounds": rounds, "rows": [row._asdict() for row in rows]}
    (folder / "results.json").write_text(json.dumps(made, indent=1) + "\n")
    results = folder / "results.md"
    _, heading, after = (results.read_text() if results.is_file() else "").partition("\n## ")
    results.write_text(page(rows, about, size, rounds) + (heading + after if heading else ""))


def page(rows: list[Row], about: dict[str, str], size: Size, rounds: int) -> str:
    table = "\n".join(
        f"| {r.name} | {r.rival} | {r.ours_cpu_s:.4f} | {r.rival_cpu_s:.4f} | {r.ratio:.1f} | {r.gate:.0f} "
        f"| {'yes' if r.met else 'no'} |"
        for r in rows
    )
    missed = "\n".join(f"- **{r.name}**: {r.why}" for r in rows if not r.met)
    return f"""# Speed against rivals

A made-up market of {size.events:,} events, {size.customers:,} customers and {size.offers} offers, in memory.
Results were checked equal, then both ran in turns in one process: medians of {rounds} rounds, in CPU-seconds of all
threads, with one thread for BLAS. A ratio is the rival's seconds over ours; a gate is what we set out to reach.

`{about["command"]}` · {about["machine"]} · commit {about["commit"]} · {about["date"]} · {about["libraries"]}

| what | rival | ours, s | rival, s | ratio | gate | met |
|---|---|---:|---:|---:|---:|---|
{table}
""" + (f"\nWhy gates were missed:\n\n{missed}\n" if missed else "")


def show(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("what", "rival", "ours, s", "rival, s", "ratio", "gate", "met")
    for r in rows:
        numbers = f"{r.ours_cpu_s:.4f}", f"{r.rival_cpu_s:.4f}", f"{r.ratio:.1f}", f"{r.gate:.0f}"
        table.add_row(r.name, r.rival, *numbers, "yes" if r.met else "no")
    Console().print(table)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    parser.add_argument("--quick", action="store_const", const="quick", dest="size", help="under two minutes")
    parser.add_argument("--smallest", action="store_const", const="smallest", dest="size", help="seconds, for a test")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=HERE, help="folder of results.json and results.md")
    given = parser.parse_args(arguments)
    name = given.size or "full"
    command = " ".join(["python benchmarks/run.py", *([f"--{name}"] if given.size else [])])
    rows = measure(sizes(name), given.rounds)
    save(rows, command, sizes(name), given.rounds, given.out)
    show(rows)


if __name__ == "__main__":
    main()
