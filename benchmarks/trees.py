"""Speed of graphs with trees: `python benchmarks/trees.py`.

Columns and labels are random, in the shape of a supermarket: 225 offers, of which a customer has bought a fifth. The
network has the default settings and random weights. Writes trees.json, and a section of results.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")

HEADING, NEXT = "## Trees in a graph", "## Serving"
CUSTOMERS, OFFERS, EVENTS, PAST = 109, 225, 128, 0.2
TREES, LEAVES, ROUNDS = 100, 31, 5
ALONE = "network, ONNX Runtime"


def random_inputs(seed: int) -> Any:
    """Inputs with the default columns; a share `PAST` of the pairs has a past, the others have the columns of a
    never-bought offer."""
    import numpy as np

    from propensity.data.batch import Inputs
    from propensity.feature.features import FeatureConfig
    from propensity.serving.point_in_time import never_bought_columns

    config, random = FeatureConfig(), np.random.default_rng(seed)
    shape = CUSTOMERS, OFFERS, len(config.pair)
    bought = random.random(shape[:2]) < PAST
    pair = np.where(bought[..., None], random.gamma(1.0, 8.0, shape), never_bought_columns(config))
    market = np.array([column.empty is None for column in config.columns["pair"]])
    pair[..., market] = random.gamma(1.0, 0.1, shape)[..., market]
    pair[..., config.pair.index("purchase_days")] = bought * random.integers(1, 30, shape[:2])
    history = CUSTOMERS, EVENTS
    arrays: dict[str, Any] = {
        "token": random.integers(0, 5, (*history, 2)).astype(np.int32),
        "kind": np.zeros(history, np.int32),
        "channel": np.zeros(history, np.int32),
        "age": random.gamma(2.0, 40.0, history).astype(np.float32),
        "amount": random.gamma(2.0, 2.0, history).astype(np.float32),
        "length": np.full(CUSTOMERS, EVENTS),
        "pair": pair.astype(np.float32),
        "customer_features": random.gamma(1.0, 8.0, (CUSTOMERS, len(config.customer))).astype(np.float32),
        "context": random.gamma(1.0, 1.0, (OFFERS, len(config.context))).astype(np.float32),
        "season": random.random(9, np.float32),
        "offer": random.integers(0, OFFERS, OFFERS),
        "attribute": random.random((OFFERS, 4), np.float32),
        "standardisation": random.gamma(1.0, 1.0, (OFFERS, 2, len(config.pair))).astype(np.float32),
    }
    return Inputs(**arrays)


def random_booster(seed: int) -> Any:
    """LightGBM's purchase model on the rows of random inputs."""
    import lightgbm
    import numpy as np

    from propensity.baseline.pair_table import rows_of

    x, random = rows_of(random_inputs(seed)), np.random.default_rng(seed)
    settings = {"objective": "binary", "num_leaves": LEAVES, "min_data_in_leaf": 20, "num_threads": 1, "verbose": -1}
    label = (random.random(len(x)) < 0.05 + 0.2 * (x[:, 0] > 4)).astype(float)
    data = lightgbm.Dataset(x, label, params={"verbose": -1, "num_threads": 1})
    return lightgbm.train(settings, data, num_boost_round=TREES)


def random_network() -> Any:
    """The default network with random weights."""
    import torch
    from hydra import compose, initialize_config_dir
    from hydra.utils import instantiate

    from propensity.command import typed
    from propensity.config import conf_folder
    from propensity.data.batch import Inputs, Sizes
    from propensity.feature.column import block_sizes
    from propensity.feature.features import FeatureConfig
    from propensity.training.data_module import to_tensors

    torch.manual_seed(0)
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        cfg = typed(compose("train", overrides=["data.offer.column=category", "data.log=unused"]))
    pair, customer, context = (block_sizes(columns) for columns in FeatureConfig().columns.values())
    sizes = Sizes((5, 7), 5, 3, pair._replace(within_offer=True), customer, context, 9, OFFERS, 4, (1, 2))
    model = instantiate(cfg.model, sizes=sizes).eval()
    model.fit_scales(Inputs(*to_tensors(random_inputs(1))))
    return model


def write_graphs(folder: Path, booster: Any) -> None:
    """The network alone, and with trees on all pairs or on pairs with a past: whole graphs, and files of kernels."""
    import numpy as np
    import torch

    from propensity.feature.features import FeatureConfig
    from propensity.serving.bundle_file import write_arrays
    from propensity.serving.champion import Booster, Combination, CombinationGraph, Mixture
    from propensity.serving.graph import PartsGraph, ScoringGraph, output_names, pair_weights, trace, write_onnx
    from propensity.serving.model_file import write_trees
    from propensity.serving.pair_scorer import CHAMPION, GRAPH, PARTS, WEIGHTS
    from propensity.serving.tree_inputs import insert_trees
    from propensity.serving.trees import read_trees

    model, inputs = random_network(), random_inputs(2)
    trees = Booster(read_trees(booster.model_to_string()), None, None)
    for name, never_bought in (("none", None), ("all", 0.4), ("past", 0.0)):
        (folder / name).mkdir()
        combination = None
        if never_bought is not None:
            weight = np.array([[1 - never_bought, never_bought], [0.6, 0.4]])
            past = FeatureConfig().pair.index("purchase_days")
            weights = Mixture(("network", "lightgbm"), weight, np.zeros(2), np.array([1.0, 0.0]), 1.0, 1.0, 0.01, past)
            combination = Combination(weights, {}, {"lightgbm": trees})
        graph = ScoringGraph(model, combination)
        path, names = folder / name / "model.onnx", output_names(True, combination is not None)
        torch.manual_seed(0)
        write_onnx(trace(graph, inputs, len(graph.tree_inputs)), path, names, graph.tree_inputs)
        write_onnx(trace(PartsGraph(model), inputs), folder / name / GRAPH, PARTS)
        write_arrays(folder / name / WEIGHTS, pair_weights(model))
        if combination is not None:
            insert_trees(path, combination.tree_inputs)
            path, extra = folder / name / CHAMPION, combination.extra_inputs
            write_onnx(trace(CombinationGraph(combination), inputs, len(extra)), path, names[:2], extra)
            write_trees(folder / name, combination.tree_inputs, inputs)


def time_scorers(folder: Path) -> list[dict[str, Any]]:
    """Pairs per CPU-second from computed features, one thread; the methods alternate."""
    import numpy as np

    from propensity.baseline.pair_table import rows_of
    from propensity.serving.pair_scorer import OnnxScorer, fast_scorer
    from propensity.serving.session import session

    booster = random_booster(1)
    write_graphs(folder, booster)
    inputs = random_inputs(3)
    arrays, rows = inputs._asdict(), rows_of(inputs)
    onnx = {name: OnnxScorer(session(folder / name / "model.onnx")) for name in ("none", "all", "past")}
    fast: dict[str, Any] = {name: fast_scorer(folder / name) for name in onnx}
    methods: dict[str, Callable[[], Any]] = {
        ALONE: lambda: onnx["none"](arrays),
        "network and trees, ONNX Runtime": lambda: onnx["all"](arrays),
        "the same, trees on pairs with a past": lambda: onnx["past"](arrays),
        "network, fused kernels": lambda: fast["none"](arrays),
        "network and trees, fused kernels": lambda: fast["all"](arrays),
        "the same with fused kernels, trees on pairs with a past": lambda: fast["past"](arrays),
        "trees alone, LightGBM's predictor": lambda: booster.predict(rows, raw_score=True, num_threads=1),
    }
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for repeat in range(ROUNDS + 1):
        for name, call in methods.items():
            start = time.process_time()
            for _ in range(4):
                call()
            seconds[name] += [(time.process_time() - start) / 4] * (repeat > 0)  # the first round compiles
    size = CUSTOMERS * OFFERS
    return [{"what": name, "pairs_per_cpu_s": size / float(np.median(times))} for name, times in seconds.items()]


def results_section(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    alone = next(row["pairs_per_cpu_s"] for row in results["scorers"] if row["what"] == ALONE)
    lines = [
        f"| {row['what']} | {row['pairs_per_cpu_s'] / 1e3:,.0f} | {row['pairs_per_cpu_s'] / alone:.2f} |"
        for row in results["scorers"]
    ]
    newline, about = "\n", [results[name] for name in ("machine", "commit", "date", "libraries")]
    return f"""{HEADING}

{TREES} trees of {LEAVES} leaves on random columns, {CUSTOMERS} customers x {OFFERS} offers in a block, {PAST:.0%} of
the pairs with a past; the default network with random weights. The methods alternate in one process with one thread
each; medians of {ROUNDS} rounds.

`python benchmarks/trees.py` · {about[0]} · commit {about[1]} · {about[2]} · {about[3]}

| from computed features | thousand pairs per CPU-second | relative to the network in ONNX Runtime |
|---|---:|---:|
{newline.join(lines)}
"""


def main(arguments: list[str] | None = None) -> None:
    from datetime import date
    from importlib.metadata import version

    from benchmarks.run import commit, machine

    parser = argparse.ArgumentParser(prog="benchmarks/trees.py", description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE, help="folder of trees.json and results.md")
    out = parser.parse_args(arguments).out
    with tempfile.TemporaryDirectory() as temporary:
        results: dict[str, Any] = {"scorers": time_scorers(Path(temporary))}
    libraries = ", ".join(f"{name} {version(name)}" for name in ("lightgbm", "numba", "onnxruntime"))
    results |= {"machine": machine(), "commit": commit(), "date": date.today().isoformat(), "libraries": libraries}
    out.mkdir(parents=True, exist_ok=True)
    (out / "trees.json").write_text(json.dumps(results, indent=1) + "\n")
    path = out / "results.md"
    before = path.read_text() if path.is_file() else "# Benchmarks\n"
    first, _, after = before.partition(NEXT)
    first = first.split(HEADING)[0].rstrip()
    path.write_text(f"{first}\n\n{results_section(results)}" + (f"\n{NEXT}{after}" if after else ""))
    print(results_section(results))


if __name__ == "__main__":
    main()
