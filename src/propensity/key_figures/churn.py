"""Churn alarms against what happened: precision and recall, and who came back after a message."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.data.event_log import to_date
from propensity.decision.value_file import SUMMARY, predicted_day, rows_of_file, summary_of
from propensity.errors import DataError
from propensity.kernel.event import MESSAGE
from propensity.key_figures.lines import WEEK, SalesData
from propensity.key_figures.money import UNIT, ratio
from propensity.key_figures.segment import customers_in

CONTACT = ("campaign", "experiment", "arm")  # columns of the log's contacts
HALF = 0.5  # p_churn from which a customer is alarmed where the file has no alarms


def churn(sales: SalesData, paths: Sequence[Path]) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """Compare alarms with the purchases of their window.

    Parameters
    ----------
    sales : SalesData
        Lines and customers.
    paths : Sequence[Path]
        Files of `propensity churn`: customer_id, p_churn, alarm_since; a customer churns without a purchase in the
        window.

    Returns
    -------
    tuple[pl.DataFrame, pl.DataFrame, list[str]]
        One row per file: source, predicted_on, days, customers, churned, churn_rate, alarmed, precision, recall,
        auc, expected_churned, value_alarmed (share of the last window's net revenue that customers who churned and
        were alarmed had brought); one row per campaign, experiment and arm of the messages to alarmed customers in
        the window, and one for those without a message: customers, saved (with a purchase in the window after the
        message), save_rate; and sentences on files that are not compared.
    """
    rows, saves, sentences = [], [], []
    for path in paths:
        table = rows_of_file(path, "churn", ("customer_id", "p_churn"))
        if not table["p_churn"].cast(pl.Float64).is_between(0.0, 1.0).fill_null(False).all():
            raise DataError(f"{path} has a p_churn that is no probability; give values from 0 to 1")
        day, days = predicted_day(path, table), weeks_of(path, table) * WEEK
        if day + days > sales.day:
            sentences.append(
                f"not compared, because the window has not closed by {sales.cutoff}: churn within {days} days from "
                f"{to_date(day)}"
            )
            continue
        own = table.with_columns(row=pl.Series(customers_in(sales, table, str(path)))).filter(pl.col("row") >= 0)
        own = _outcome(sales, own, day, days)
        head = {"source": str(path), "predicted_on": to_date(day), "days": days}
        rows.append(head | _quality(own))
        saves += [head | each for each in _saves(sales, own, day, days)]
    texts = dict.fromkeys(CONTACT, pl.String) if saves else {}
    return pl.DataFrame(rows), pl.DataFrame(saves, schema_overrides=texts, infer_schema_length=None), sentences


def weeks_of(path: Path, table: pl.DataFrame) -> int:
    """Weeks without a purchase that are churn: of the column weeks, or of summary.json beside the file."""
    if "weeks" in table.columns and table.height:
        return int(table["weeks"][0])
    weeks = summary_of(path).get("weeks")
    weeks = weeks[0] if isinstance(weeks, list) and weeks else weeks
    if not isinstance(weeks, int | float) or weeks <= 0:
        raise DataError(f"{path} does not say within how many weeks; add a column weeks, or {SUMMARY} beside it")
    return int(weeks)


def _outcome(sales: SalesData, table: pl.DataFrame, day: int, days: int) -> pl.DataFrame:
    """Adds churned, alarmed, and value: net revenue (in units) of the window before the prediction."""
    bought = sales.lines.filter(~pl.col("returned") & pl.col("day").is_between(day, day + days, "left"))
    value = sales.lines.filter(pl.col("day").is_between(day - sales.window, day, "left"))
    value = value.group_by("row").agg(value=pl.col("revenue").sum())
    active = pl.Series(bought["row"].unique())
    alarmed = pl.col("alarm_since").is_not_null() if "alarm_since" in table.columns else pl.col("p_churn") >= HALF
    return table.join(value, on="row", how="left", maintain_order="left").with_columns(
        churned=~pl.col("row").is_in(active.implode()), alarmed=alarmed, value=pl.col("value").fill_null(0)
    )


def _quality(table: pl.DataFrame) -> dict[str, Any]:
    churned, alarmed = table["churned"], table["alarmed"]
    both = int((churned & alarmed).sum())
    return {
        "customers": table.height,
        "churned": int(churned.sum()),
        "churn_rate": ratio(int(churned.sum()), table.height),
        "alarmed": int(alarmed.sum()),
        "precision": ratio(both, int(alarmed.sum())),
        "recall": ratio(both, int(churned.sum())),
        "auc": auc(table["p_churn"].to_numpy(), churned.to_numpy()),
        "expected_churned": float(table["p_churn"].sum()),
        "value_lost": int(table.filter(churned)["value"].sum()) / UNIT,
        "value_alarmed": ratio(
            int(table.filter(churned & alarmed)["value"].sum()), int(table.filter(churned)["value"].sum())
        ),
    }


def auc(score: np.ndarray, positive: np.ndarray) -> float | None:
    """Area under the ROC curve, ties count as half; None for one class.

    >>> auc(np.array([.9, .8, .8, .1]), np.array([True, False, True, False]))
    0.875
    """
    yes, no = int(positive.sum()), int((~positive).sum())
    if not yes or not no:
        return None
    rank = pl.Series(score).rank("average").to_numpy()
    return float((rank[positive].sum() - yes * (yes + 1) / 2) / (yes * no))


def _saves(sales: SalesData, table: pl.DataFrame, day: int, days: int) -> list[dict[str, Any]]:
    """Save rates of alarmed customers by the message they got; the first message counts."""
    log = sales.log
    alarmed = table.filter("alarmed")
    event = np.flatnonzero((np.asarray(log.kind) == MESSAGE) & (log.day >= day) & (log.day < day + days))
    sent = pl.DataFrame({"row": log.owner(event).astype(np.int64), "sent": np.asarray(log.day)[event]})
    if log.contact is not None and log.contacts is not None:
        contact = np.asarray(log.contact)[event]
        known = log.contacts.select(pl.col(name).cast(pl.String) for name in CONTACT if name in log.contacts.columns)
        sent = sent.hstack(
            known[np.maximum(contact, 0)].with_columns(pl.when(pl.Series(contact >= 0)).then(pl.all())).get_columns()
        )
    sent = sent.with_columns(pl.lit(None, pl.String).alias(name) for name in CONTACT if name not in sent.columns)
    first = sent.sort("row", "sent", maintain_order=True).unique("row", keep="first", maintain_order=True)
    bought = sales.lines.filter(~pl.col("returned") & pl.col("day").is_between(day, day + days, "left"))
    last = bought.group_by("row").agg(last_bought=pl.col("day").max())
    own = alarmed.select("row").join(first, on="row", how="left").join(last, on="row", how="left")
    # A purchase on the day of the message counts: the message is sent in the morning.
    own = own.with_columns(saved=(pl.col("last_bought") >= pl.col("sent").fill_null(day)).fill_null(False))
    counted = own.group_by(pl.col("sent").is_not_null().alias("messaged"), *CONTACT).agg(
        customers=pl.len(), saved=pl.col("saved").sum()
    )
    rates = counted.with_columns(save_rate=pl.col("saved") / pl.col("customers"))
    return rates.sort("messaged", *CONTACT, descending=[True, False, False, False]).to_dicts()
