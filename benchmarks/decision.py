"""Benchmarks the campaign planner and K-means, each contender in its own process: `python benchmarks/decision.py`.

Sizes double until a contender needs more than `LIMIT` CPU-seconds or `MEMORY`; the table names the limit. The planner
also runs on plans of many shapes and seeds (instance.py). After every row, writes decisions.json beside this file and a
section of results.md. `--resume` keeps existing rows, each with the commit that it was measured on; `--smallest` runs
in seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")

if TYPE_CHECKING:
    import numpy as np

LIMIT = 60  # CPU-seconds of one contender at one size, without making the data
MEMORY = 8  # GB
FEATURES, MOST, RESTARTS = 32, 15, 10
MILLION = 1_000_000
# Contenders, the customers they begin with, and the most that are tried.
SIZES: dict[str, dict[str, tuple[int, int]]] = {
    "plan": {
        "ours": (15_625, 2 * MILLION),
        "HiGHS": (15_625, MILLION),
        "OR-tools min-cost flow": (62_500, MILLION),
        "global greedy": (MILLION, 2 * MILLION),
    },
    "segments": {"ours": (125_000, MILLION), "scikit-learn": (125_000, MILLION)},
}
SMALLEST: dict[str, dict[str, tuple[int, int]]] = {
    task: dict.fromkeys(contenders, (200, 200)) for task, contenders in SIZES.items()
}
SEEDS = (1, 2, 3, 4, 5)  # of the usual shape; every other shape runs with the first two
HEADING = "## Decisions"
Measure = Callable[[str, str, int, int], dict[str, Any]]


def plan_ours(customers: int) -> Callable[[], dict[str, float]]:
    from benchmarks.instance import problem
    from propensity.decision.plan.planner import solve

    instance = problem(customers)
    solve(problem(300))  # compiles

    def run() -> dict[str, float]:
        plan = solve(instance)
        return {"value": plan.value, "optimality_gap": plan.optimality_gap, "short": float(plan.short.sum())}

    return run


def plan_greedy(customers: int) -> Callable[[], dict[str, float]]:
    import numpy as np

    from benchmarks.instance import CAMPAIGNS, DAYS, problem
    from propensity.decision.plan.heuristic import greedy
    from propensity.decision.plan.request import Campaign, Request

    def ask(size: int) -> tuple[Any, Any]:
        made = problem(size)
        day = np.repeat(np.arange(DAYS), np.diff(made.calendar.start))
        return Request(made, [Campaign(str(c)) for c in range(CAMPAIGNS)], day, [], 0), np.arange(size, dtype=np.uint64)

    instance, order = ask(customers)
    greedy(*ask(300))

    def run() -> dict[str, float]:
        made = greedy(instance, order)
        return {"value": made.value, "short": made.short}

    return run


def plan_flow(customers: int) -> Callable[[], dict[str, float]]:
    import numpy as np
    from ortools.graph.python import min_cost_flow

    from benchmarks.instance import CAMPAIGNS, DAYS, problem

    instance, scale = problem(customers), 1e6
    net = instance.value - instance.cost
    row, slot = np.nonzero(np.isfinite(net))
    day = np.repeat(np.arange(DAYS), np.diff(instance.calendar.start))
    people, weeks = np.arange(customers), 2
    person, week, daily = 2 + people, 2 + customers + np.arange(customers * weeks), 2 + customers * (1 + weeks)
    campaign = daily + customers * DAYS + np.arange(CAMPAIGNS)
    needed, total = 1e3 * scale, customers * 6

    def run() -> dict[str, float]:
        flow = min_cost_flow.SimpleMinCostFlow()
        add = flow.add_arcs_with_capacity_and_unit_cost

        def arcs(tail: Any, head: Any, capacity: Any, cost: Any) -> Any:
            same = np.broadcast_arrays(tail, head, capacity, cost)
            return add(*(np.ascontiguousarray(a, kind) for a, kind in zip(same, KINDS, strict=True)))

        arcs(0, person, 6, 0)
        arcs(np.repeat(person, weeks), week, 3, 0)
        both = np.arange(customers * DAYS)
        arcs(week[(both // DAYS) * weeks + (both % DAYS) // 7], daily + both, 1, 0)
        chosen = arcs(daily + row * DAYS + day[slot], campaign[slot], 1, -np.round(net[row, slot] * scale))
        arcs(campaign, 1, instance.limits.least, -needed)
        arcs(campaign, 1, instance.limits.most - instance.limits.least, 0)
        arcs(0, 1, total, 0)
        flow.set_node_supply(0, total)
        flow.set_node_supply(1, -total)
        assert flow.solve() == flow.OPTIMAL
        taken = flow.flows(chosen) > 0
        load = np.bincount(slot[taken], minlength=CAMPAIGNS)
        short = float(np.maximum(instance.limits.least - load, 0).sum())
        return {"value": float(net[row, slot][taken].sum(dtype=np.float64)), "short": short}

    KINDS = (np.int32, np.int32, np.int64, np.int64)
    return run


def plan_highs(customers: int) -> Callable[[], dict[str, float]]:
    import highspy
    import numpy as np

    from benchmarks.instance import DAYS, problem

    instance = problem(customers)
    net = instance.value - instance.cost
    row, slot = np.nonzero(np.isfinite(net))
    day = np.repeat(np.arange(DAYS), np.diff(instance.calendar.start))[slot]
    rules = (row * DAYS + day, customers * DAYS + row * 2 + day // 7, customers * (DAYS + 2) + slot)
    limits = [np.ones(customers * DAYS), np.full(customers * 2, 3.0), instance.limits.most]
    least = [np.full(customers * (DAYS + 2), -np.inf), instance.limits.least]

    def run() -> dict[str, float]:
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = row.size, sum(part.size for part in limits)
        model.sense_ = highspy.ObjSense.kMaximize
        model.col_cost_ = net[row, slot].astype(np.float64)
        model.col_lower_, model.col_upper_ = np.zeros(row.size), np.ones(row.size)
        model.row_lower_, model.row_upper_ = np.concatenate(least), np.concatenate(limits)
        model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        model.a_matrix_.start_ = np.arange(0, 3 * row.size + 1, 3)
        model.a_matrix_.index_ = np.stack(rules, axis=1).ravel()
        model.a_matrix_.value_ = np.ones(3 * row.size)
        solver = highspy.Highs()
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("threads", 1)
        solver.passModel(model)
        solver.run()
        assert solver.getModelStatus() == highspy.HighsModelStatus.kOptimal
        return {"value": solver.getInfo().objective_function_value, "short": 0.0}

    return run


def rows(customers: int) -> np.ndarray:
    """Overlapping Gaussian clusters of customers: (N, FEATURES) float32."""
    import numpy as np

    random = np.random.default_rng(2)
    centre = random.normal(0, 1.5, (8, FEATURES))
    made: np.ndarray = (centre[random.integers(0, 8, customers)] + random.normal(0, 1, (customers, FEATURES))).astype(
        "f4"
    )
    return made


def segments_ours(customers: int) -> Callable[[], dict[str, float]]:
    from propensity.decision.kmeans import fit_all

    row = rows(customers)
    fit_all(rows(100), 2, RESTARTS, 0)  # compiles
    return lambda: {"value": sum(fit.inertia for fit in fit_all(row, MOST, RESTARTS, 0))}


def segments_sklearn(customers: int) -> Callable[[], dict[str, float]]:
    from sklearn.cluster import KMeans

    row = rows(customers)

    def run() -> dict[str, float]:
        fits = (KMeans(k, n_init=RESTARTS, random_state=0).fit(row) for k in range(1, MOST + 1))
        return {"value": float(sum(fit.inertia_ for fit in fits))}

    return run


CONTENDERS: dict[str, dict[str, Callable[[int], Callable[[], dict[str, float]]]]] = {
    "plan": {
        "ours": plan_ours,
        "global greedy": plan_greedy,
        "OR-tools min-cost flow": plan_flow,
        "HiGHS": plan_highs,
    },
    "segments": {"ours": segments_ours, "scikit-learn": segments_sklearn},
}


def shape_ours(shape: str, customers: int, seed: int) -> Callable[[], dict[str, float]]:
    from benchmarks.instance import problem
    from propensity.decision.plan.planner import solve

    instance = problem(customers, shape, seed)
    solve(problem(300))  # compiles

    def run() -> dict[str, float]:
        plan = solve(instance)
        return {"value": plan.value, "optimality_gap": plan.optimality_gap, "short": float(plan.short.sum())}

    return run


def one(task: str, name: str, customers: int, seed: int) -> None:
    """Runs one contender once in this process and prints its result as JSON; making the data is not measured."""
    run = shape_ours(name, customers, seed) if task == "shape" else CONTENDERS[task][name](customers)
    spent = resource.getrusage(resource.RUSAGE_SELF)
    used = int(spent.ru_utime + spent.ru_stime)
    resource.setrlimit(resource.RLIMIT_CPU, (used + LIMIT, used + LIMIT))
    start = time.process_time()
    result = run()
    cpu = time.process_time() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"cpu_s": cpu, "peak_gb": memory} | result))


def measured(task: str, name: str, customers: int, seed: int) -> dict[str, Any]:
    """A row of the table: one contender in its own process; `stopped` names the limit that stopped it, if any."""
    command = [sys.executable, __file__, "--one", task, name, str(customers), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=bounded)
    row: dict[str, Any] = {"task": task, "name": name, "customers": customers, "seed": seed, "stopped": None}
    if not done.returncode:
        row |= json.loads(done.stdout.splitlines()[-1])
    elif done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        row["stopped"] = f"{LIMIT} CPU-seconds"
    elif any(word in done.stderr for word in ("MemoryError", "bad_alloc", "Unable to allocate", "std::length_error")):
        row["stopped"] = f"{MEMORY} GB"
    else:
        raise RuntimeError(f"{name}, {customers} customers: exit {done.returncode}\n{done.stderr}")
    print(row, file=sys.stderr)
    return row


def bounded() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY * 2**30, MEMORY * 2**30))


def doubled(sizes: dict[str, dict[str, tuple[int, int]]], measure: Measure) -> Iterator[dict[str, Any]]:
    """Every contender at its first size, then doubled until a limit is exceeded."""
    for task, contenders in sizes.items():
        for name, (customers, most) in contenders.items():
            while customers <= most:
                row = measure(task, name, customers, 1)
                yield row
                if row["stopped"] or row["cpu_s"] > LIMIT:
                    break
                customers *= 2


def shaped(customers: int, seeds: tuple[int, ...], measure: Measure) -> Iterator[dict[str, Any]]:
    """The planner on the usual plan with all seeds, and on every other shape with the first two."""
    from benchmarks.instance import SHAPES

    for seed in seeds:
        for shape in SHAPES if seed in SEEDS[:2] else ("usual",):
            yield measure("shape", shape, customers, seed)


def measurer(known: list[dict[str, Any]]) -> Measure:
    """Measures a row, or takes it from the known ones."""
    from benchmarks.run import commit

    rows = {(r["task"], r["name"], r["customers"], r["seed"]): r for r in known}
    return lambda *key: rows.get(key) or measured(*key) | {"commit": commit()}


def page(rows: list[dict[str, Any]], about: dict[str, str]) -> str:
    """The rows as Markdown, each relative to ours at the same size."""
    from benchmarks.instance import CAMPAIGNS, DAYS

    reference = {(r["task"], r["customers"]): r for r in rows if r["name"] == "ours" and not r["stopped"]}
    above, lines = any(r.get("cpu_s", 0) > LIMIT for r in rows), []
    for r in (r for r in rows if r["task"] != "shape"):
        own = reference.get((r["task"], r["customers"]), {})
        if r["stopped"]:
            numbers = f"stopped by {r['stopped']} | - | - | - | - | -"
        else:
            beside = f"{r['value'] / own['value'] - 1:+.4%}" if own.get("value") else "-"
            ratio = f"{r['cpu_s'] / own['cpu_s']:.1f}" if own.get("cpu_s") else "-"
            gap = f"{r['optimality_gap']:.4%}" if "optimality_gap" in r else "-"
            short = f"{r['short']:,.0f}" if "short" in r else "-"
            numbers = f"{r['cpu_s']:.2f} | {ratio} | {r['peak_gb']:.2f} | {beside} | {gap} | {short}"
        lines.append(f"| {r['task']} | {r['name']} | {r['customers']:,} | {numbers} | {r['commit']} |")
    table = "\n".join(lines)
    wider = " A row above the limit was measured earlier, under a wider one." if above else ""
    largest, fewer = (f"{max(most for _, most in SIZES[task].values()):,}" for task in SIZES)
    return f"""{HEADING}

A plan is {CAMPAIGNS} campaigns on {DAYS} days with a least and a most audience, at most one contact a day and three
in a calendar week. Segments are all k from 1 to {MOST} with {RESTARTS} restarts of {FEATURES} columns; ours restarts on
20,000 rows and continues the best on all. Every contender runs once at every size in a process of its own, with one
thread and the data in memory; sizes double until it needs more than {LIMIT} CPU-seconds or {MEMORY} GB, or to {largest}
customers ({fewer} of segments). Value is that of the plan, or the sum of the inertias, relative to ours; the
optimality gap is certified; short counts the customers that a plan lacks below its least audiences. Other work ran on
the machine, so that CPU-seconds of a shared core are slower.{wider}

`{about["command"]}` · {about["machine"]} · {about["date"]} · {about["libraries"]}

| task | contender | customers | CPU-seconds | ratio | peak GB | relative value | optimality gap | short | commit |
|---|---|---:|---:|---:|---:|---:|---:|---:|---|
{table}

{shapes(rows)}
"""


def shapes(measured_rows: list[dict[str, Any]]) -> str:
    """The planner on plans of every shape: from the fastest to the slowest seed."""
    from benchmarks.instance import CAMPAIGNS, SHAPES

    lines, customers = [], max((r["customers"] for r in measured_rows if r["task"] == "shape"), default=0)
    for shape, made in SHAPES.items():
        rows = [r for r in measured_rows if r["task"] == "shape" and r["name"] == shape]
        ended = [r for r in rows if not r["stopped"]]
        if not rows:
            continue
        cpu, gap = sorted(r["cpu_s"] for r in ended), max((r["optimality_gap"] for r in ended), default=None)
        spread = f"{cpu[0]:.1f} to {cpu[-1]:.1f}, median {statistics.median(cpu):.1f}" if cpu else "-"
        if len(ended) < len(rows):
            spread += f"; {len(rows) - len(ended)} stopped by {LIMIT} CPU-seconds"
        commits = ", ".join(dict.fromkeys(r["commit"] for r in rows))
        proof = "-" if gap is None else f"{gap:.4%}"
        lines.append(f"| {shape} | {made.about} | {len(rows)} | {spread} | {proof} | {commits} |")
    table = "\n".join(lines)
    return f"""The same planner on synthetic plans of {customers:,} customers and {CAMPAIGNS} campaigns:

| shape | description | seeds | CPU-seconds | largest optimality gap | commit |
|---|---|---:|---:|---:|---|
{table}"""


def about(command: str) -> dict[str, str]:
    from datetime import date
    from importlib.metadata import version

    from benchmarks.run import machine

    names = ("numba", "numpy", "ortools", "highspy", "scikit-learn")
    libraries = ", ".join(f"{name} {version(name)}" for name in names)
    made = {"machine": machine(), "date": date.today().isoformat(), "command": command}
    return made | {"libraries": libraries}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks/decision.py", description=__doc__)
    parser.add_argument(
        "--one", nargs=4, metavar=("TASK", "NAME", "CUSTOMERS", "SEED"), help="one contender in this process"
    )
    parser.add_argument("--smallest", action="store_true", help="seconds, for a test")
    parser.add_argument("--resume", action="store_true", help="keep the rows of decisions.json")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of decisions.json and results.md")
    given = parser.parse_args(arguments)
    if given.one:
        return one(given.one[0], given.one[1], int(given.one[2]), int(given.one[3]))
    command = "python benchmarks/decision.py" + " --smallest" * given.smallest
    stored = given.out / "decisions.json"
    known = json.loads(stored.read_text())["rows"] if given.resume else []
    measure = measurer(known)
    found: list[dict[str, Any]] = []
    for row in programme(given.smallest, measure):
        found.append(row)
        write(given.out, found, [r for r in known if r not in found], about(command))
    print(page(found, about(command)))


def programme(smallest: bool, measure: Measure) -> Iterator[dict[str, Any]]:
    """The rows, the most informative first."""
    customers = 300 if smallest else MILLION
    yield from shaped(customers, SEEDS[:1], measure)
    yield from doubled(SMALLEST if smallest else SIZES, measure)
    if not smallest:
        yield from shaped(customers, SEEDS[1:], measure)


def write(out: Path, found: list[dict[str, Any]], later: list[dict[str, Any]], facts: dict[str, str]) -> None:
    """The rows so far, for programs and for people; for programs, those too that a later turn will take as known."""
    (out / "decisions.json").write_text(json.dumps(facts | {"rows": found + later}, indent=1) + "\n")
    results = out / "results.md"
    before = results.read_text().split(HEADING)[0].rstrip() if results.is_file() else "# Speed against rivals"
    results.write_text(f"{before}\n\n{page(found, facts)}")


if __name__ == "__main__":
    main()
