"""All key figures of a log as of a cutoff: what `propensity kpi` writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from propensity.atomic import whole_folder
from propensity.checksum import seal_folder
from propensity.config import KpiConfig
from propensity.data.event_log import EventLog, to_date, to_day
from propensity.data.table_file import write_table
from propensity.errors import ConfigurationError
from propensity.key_figures import acquisition as acquired
from propensity.key_figures.churn import churn
from propensity.key_figures.cohort import cohorts, retention, retention_curve
from propensity.key_figures.drift import drift
from propensity.key_figures.lines import SalesData, sales_data
from propensity.key_figures.overview import frequency, overview, quantiles, recency
from propensity.key_figures.prediction import closed, paths_of, predicted, predictions_of, predictions_of_scores
from propensity.key_figures.satisfaction import satisfaction, satisfaction_columns
from propensity.key_figures.segment import memberships, segments
from propensity.key_figures.tier import migration, tiered, tiers, waterfall

FILE, PAGE = "kpi.json", "kpi.html"
INLINE = 200  # rows up to which a table stands in the JSON as well


@dataclass(frozen=True)
class Kpi:
    """Key figures of a log as of a cutoff.

    Parameters
    ----------
    facts : dict[str, Any]
        cutoff, currency, first_day, last_day, period, window and other facts of the log.
    figures : dict[str, Any]
        Figures of all customers.
    tables : dict[str, pl.DataFrame]
        Tidy tables by name; those that the data do not allow are not there.
    warnings : list[str]
        What a reader should know first, a sentence each.
    """

    facts: dict[str, Any]
    figures: dict[str, Any]
    tables: dict[str, pl.DataFrame]
    warnings: list[str]

    def json(self) -> str:
        """Everything but the rows of long tables, as JSON."""
        tables = {
            name: {"rows": table.height, "columns": table.columns, "file": f"{name}.parquet"}
            | ({"values": table.to_dicts()} if table.height <= INLINE else {})
            for name, table in self.tables.items()
        }
        whole = self.facts | {"figures": self.figures, "warnings": self.warnings, "tables": tables}
        return json.dumps(whole, indent=1, default=str)


def kpi(cfg: KpiConfig, say: Callable[[str], None] = lambda text: None) -> Kpi:
    """Compute the key figures of a log.

    Parameters
    ----------
    cfg : KpiConfig
        Settings of `propensity kpi`.
    say : callable
        Receives messages about progress.

    Returns
    -------
    Kpi
        Figures, tables and warnings. Nothing at or after the cutoff is used.

    Raises
    ------
    ConfigurationError
        If a file is not there or a setting does not fit the log.
    DataError
        If nobody bought anything before the cutoff, or a file cannot be used.
    """
    check(cfg)
    log = EventLog.open(cfg.log, verify=cfg.data.verify)
    say(f"sales before {cfg.cutoff}")
    sales = sales_data(log, to_day(cfg.cutoff), cfg.cohort, cfg.window)
    warnings = [*sales.warnings, *after_the_log(log, sales)]
    ages, moves = retention(sales), tiered(sales, cfg.tiers)
    say("segments")
    members = memberships(sales, cfg.segments)
    figures = overview(sales)
    tables = {
        "cohorts": cohorts(sales),
        "retention": ages,
        "retention_curve": retention_curve(ages),
        "frequency": frequency(sales),
        "recency": recency(sales),
        "quantiles": quantiles(sales),
        "tiers": tiers(moves),
        "migration": migration(moves),
        "waterfall": waterfall(moves),
        "segments": segments(sales, members),
    }
    say("predictions")
    files = [each for path in paths_of(cfg.clv, "clv") for each in predictions_of(sales, path)]
    scored = [] if cfg.scores is None else predictions_of_scores(sales, cfg.scores)
    if cfg.scores is not None and not scored:
        warnings.append(f"{cfg.scores} has no config.yaml beside it, which names the horizon: scores are not compared")
    whole, sentences = closed(sales, [*files, *scored])
    tables["predicted"] = predicted(sales, whole, cfg.tiers)
    quality, saves, open_churn = churn(sales, paths_of(cfg.churn, "churn"))
    tables |= {"churn": quality, "saves": saves}
    warnings += [*sentences, *open_churn]
    column = acquired.COST if cfg.acquisition_cost is None else cfg.acquisition_cost
    if column in log.customers.columns:
        now = [each for each in files if each.day == sales.day]
        longest = max(now, key=lambda each: each.days) if now else None
        tables["acquisition"], more = acquired.acquisition(sales, column, cfg.margin, longest)
        warnings += more
        if longest is not None:
            figures["ltv_days_after_cutoff"] = longest.days
    elif cfg.acquisition_cost is not None:
        raise ConfigurationError(
            f"customers have no column {cfg.acquisition_cost!r}; give acquisition_cost one of: "
            f"{', '.join(name for name in log.customers.columns if name != 'customer')}"
        )
    tables["satisfaction"] = satisfaction(sales, satisfaction_columns(log.customers, cfg.satisfaction), members)
    if cfg.run is not None:
        say("drift since the training")
        facts, tables["drift"], more = drift(sales, cfg.run)
        figures |= facts
        warnings += more
    tables = {name: table for name, table in tables.items() if table.width}
    return Kpi(facts_of(sales, cfg), figures, tables, warnings)


def check(cfg: KpiConfig) -> None:
    """ConfigurationError for shares of tiers that are not ascending within 0 to 1."""
    edges = [0.0, *cfg.tiers, 1.0]
    if len(cfg.tiers) != 3 or any(low >= high for low, high in zip(edges, edges[1:], strict=False)):
        raise ConfigurationError(f"tiers={cfg.tiers} must be three ascending shares between 0 and 1; use [0.1,0.3,0.6]")


def after_the_log(log: EventLog, sales: SalesData) -> list[str]:
    """A sentence where the cutoff is later than the day after the last purchase of the log."""
    gap = sales.day - log.last_day - 1
    if gap <= 0:
        return []
    return [
        f"the log ends on {to_date(log.last_day)}, {gap:,} days before {sales.cutoff}: recency counts days without data"
    ]


def facts_of(sales: SalesData, cfg: KpiConfig) -> dict[str, Any]:
    """What the figures are of."""
    bought = sales.lines.filter(~pl.col("returned"))["day"]
    return {
        "cutoff": sales.cutoff.isoformat(),
        "log": str(cfg.log),
        "fingerprint": sales.log.fingerprint,
        "currency": sales.log.meta.get("currency"),
        "first_day": to_date(int(bought.min())).isoformat(),  # type: ignore[arg-type]
        "last_day": to_date(int(bought.max())).isoformat(),  # type: ignore[arg-type]
        "cohort_period": sales.period,
        "window_days": sales.window,
        "tier_shares": list(cfg.tiers),
        "has_money": sales.has_money,
        "has_cost": sales.has_cost,
    }


def save(result: Kpi, out: str | Path, page: str) -> None:
    """Write the figures as a folder that appears whole or not at all.

    Parameters
    ----------
    result : Kpi
        Key figures.
    out : str or Path
        Folder; it is replaced if it holds earlier figures.
    page : str
        The page as HTML.

    Raises
    ------
    ConfigurationError
        If `out` is a file or a folder with other contents.
    """
    out = Path(out)
    if out.suffix in (".parquet", ".html", ".json") or out.is_file():
        raise ConfigurationError(f"{out} is no folder; kpi leaves several files: give out={out.with_suffix('')}")
    if out.is_dir() and any(out.iterdir()) and not (out / FILE).is_file():
        raise ConfigurationError(f"{out} holds something else than key figures; give another folder")
    with whole_folder(out) as draft:
        for name, table in result.tables.items():
            write_table(table, draft / f"{name}.parquet")
        (draft / FILE).write_text(result.json(), encoding="utf-8")
        (draft / PAGE).write_text(page, encoding="utf-8")
        seal_folder(draft)
