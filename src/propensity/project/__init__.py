"""A project folder of a user's own: YAML that extends ours, a package for parts, sample data and a README."""

from __future__ import annotations

import shutil
from pathlib import Path

from propensity.atomic import whole_file
from propensity.disk import make_folder
from propensity.errors import ConfigurationError

TEMPLATE = Path(__file__).parent / "template"
SAMPLE = {"customers": 300, "items": 60, "categories": 8, "days": 200}


def make_project(out: str | Path) -> list[Path]:
    """Writes a project to a folder.

    Parameters
    ----------
    out
        Absent or empty.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    ConfigurationError
        For a folder that holds something.
    """
    folder = Path(out)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ConfigurationError(f"{folder} is not empty; give the name of a new folder")
    make_folder(folder)
    shutil.copytree(TEMPLATE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "gitignore").rename(folder / ".gitignore")
    write_sample(folder / "raw/sales.csv")
    return sorted(path for path in folder.rglob("*") if path.is_file())


def write_sample(path: Path) -> None:
    """Purchases of a simulated shop, in columns that are not ours."""
    import polars as pl

    from propensity.ingest.source.synthetic import Synthetic

    tables = Synthetic(**SAMPLE).load()  # type: ignore[arg-type]
    assert tables.items is not None
    sales = tables.events.filter(pl.col("kind") == "purchase").join(tables.items, on="item", how="left")
    columns = {"card": "customer", "date": "day", "sku": "item", "units": "quantity", "amount": "revenue"}
    frame = sales.select(**columns, category="category").sort("date", "card", "sku").collect()
    path.parent.mkdir(exist_ok=True)
    with whole_file(path) as draft:
        frame.write_csv(draft)
