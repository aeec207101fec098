"""Cost of a cluster: `python benchmarks/scale.py bundle data/complete_journey 2018-01-02 workers=4 blocks=80`.

The parts of a bundle's scores are written again and again as blocks, once by this process and once by a local Ray
cluster. Every block notes the CPU-seconds of its process, so that the start of Ray and of its workers is counted apart.
Empty blocks give what Ray takes for each. Files are compared. Prints one line of JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from propensity.engine.block import Block, Engine, Write
from propensity.engine.local import LocalEngine
from propensity.engine.ray import RayEngine
from propensity.serving.batch import BatchConfig, BatchScorer
from propensity.serving.batch_job import Recipe, recipe_of
from propensity.serving.bundle import open_bundle


@dataclass(frozen=True)
class Timed:
    """Writes part `index` modulo the number of parts, and beside it the CPU-seconds that this took.

    Attributes
    ----------
    recipe : Recipe, optional
        Of the scorer; None writes nothing, which leaves what an engine takes.
    """

    recipe: Recipe | None

    def open(self) -> Write:
        start = time.process_time()
        scorer = None if self.recipe is None else self.recipe.scorer()
        opening = time.process_time() - start

        def write(block: Block, draft: Path) -> None:
            nonlocal opening
            start = time.process_time()
            if scorer is None:
                draft.write_text("")
            else:
                scorer.write_part(block.number % len(scorer.parts), draft)
            seconds = {"opening": opening, "block": time.process_time() - start}
            block.path.with_suffix(".json").write_text(json.dumps(seconds))
            opening = 0.0

        return write


def timed(engine: Engine, recipe: Recipe | None, folder: Path, blocks: int) -> dict[str, Any]:
    """CPU-seconds of all blocks and of opening their job, and wall seconds of the whole."""
    folder.mkdir()
    start = time.perf_counter()
    engine.write(
        Timed(recipe), [Block(index, folder / f"{index:05d}.parquet") for index in range(blocks)], lambda text: None
    )
    wall = time.perf_counter() - start
    rows = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return {"wall": wall} | {name: sum(row[name] for row in rows) for name in ("opening", "block")}


def main(bundle: str, log: str, cutoff: str, settings: dict[str, int]) -> dict[str, Any]:
    """The measurement."""
    scale: Any = importlib.import_module("scale")  # the workers import the job from here

    workers, blocks = settings.get("workers", 4), settings.get("blocks", 80)
    opened = open_bundle(bundle)
    events = opened.task.open_or(log, True)
    features, market_stats = opened.features_at(events, opened.cutoff(events, cutoff))
    scorer = BatchScorer(opened, features, market_stats, BatchConfig(part=settings.get("part", 256), threads=1))
    recipe = recipe_of(scorer, events)
    with tempfile.TemporaryDirectory() as folder:
        place, engine = Path(folder), RayEngine(workers=workers)
        empty = scale.timed(engine, None, place / "empty", 1_000)
        few = scale.timed(engine, None, place / "few", 1)
        one = scale.timed(LocalEngine(), recipe, place / "one", blocks)
        many = scale.timed(engine, recipe, place / "many", blocks)
        equal = all(
            path.read_bytes() == (place / "many" / path.name).read_bytes() for path in (place / "one").glob("*.parquet")
        )
    pairs = blocks * len(features.log) * len(features.offers) // len(scorer.parts)
    return {
        "workers": workers, "blocks": blocks, "offers": len(features.offers), "pairs": pairs, "equal": equal,
        "one process": one, "workers together": many, "loss": many["block"] / one["block"] - 1,
        "pairs per CPU-second": pairs / one["block"],
        "start of Ray, wall seconds": few["wall"],
        "wall milliseconds for each of 1,000 empty blocks": empty["wall"] - few["wall"],
    }  # fmt: skip


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    chosen = dict(each.split("=") for each in sys.argv[4:])
    print(json.dumps(main(sys.argv[1], sys.argv[2], sys.argv[3], {name: int(value) for name, value in chosen.items()})))
