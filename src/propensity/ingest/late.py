"""Rows of earlier days in an appended delivery: what they correct in the log, and whether they are all there already.

Orders and lines are recognised by hashes of their ids, which the log stores beside its events where a source knows
when a later delivery corrects an earlier one (`propensity.ingest.source.Tables.corrections`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.data.earlier_event import earlier_events, named
from propensity.data.event_log import EventLog, to_date
from propensity.data.log_column import KEYS
from propensity.data.log_head import LogHead
from propensity.errors import DataError
from propensity.ingest.rule.settle import OVERLAP_SHARE
from propensity.kernel.event import PURCHASE, RETURN

LINE = ("customer", "day", "kind", "item", "channel", "quantity", "revenue", "discount")
ORDER = ("customer", "day", "order_key")
IN_ORDER = pl.col("kind").is_in([PURCHASE, RETURN])
NONE = pl.DataFrame(schema={"part": pl.Int64, "apart": pl.Boolean, "event": pl.Int64})


class Correction(NamedTuple):
    """What a delivery changes in the log beside its own events.

    Parameters
    ----------
    removed : polars.DataFrame
        Events of the log that it replaces, see `propensity.data.segment.Segment`.
    merged : dict of str to int
        Their number by rule.
    money : dict of str to float
        Difference of each part of the account of money.
    warnings : dict of str to int
        Rule -> rows of the delivery.
    """

    removed: pl.DataFrame
    merged: dict[str, int]
    money: dict[str, float]
    warnings: dict[str, int]


def correction(head: LogHead, new: EventLog, corrections: str | None) -> Correction:
    """Find the events of a log that a delivery replaces.

    Parameters
    ----------
    head : LogHead
        The log.
    new : EventLog
        The log of the delivery.
    corrections : {"overlap", "always", "never"} or None
        When a later delivery of an order replaces an earlier one, see `propensity.ingest.rule.settle.settle`; None for
        a source without such a rule.

    Returns
    -------
    Correction
        Empty for a delivery that is later than the log and has no ids of lines.

    Raises
    ------
    DataError
        If the log has all events of the delivery already.
    """
    last = head.last_event_day
    if new.first_event_day > last and new.event_key is None:
        return Correction(NONE, {}, {}, {})
    lines = lines_of(new)
    late = lines.filter(pl.col("day") <= last)
    columns = [*LINE[1:], *KEYS]
    earlier = earlier_events(head, late.select("customer", "day").unique(), columns) if late.height else None
    if earlier is not None and late.height == lines.height:
        corrects = corrections in ("overlap", "always") and new.event_key is None
        if not corrects or not deletes_lines(earlier, late, str(corrections)):
            refuse_known(head, new, lines, earlier)
    removed: dict[str, pl.DataFrame] = {}
    if (lines["event_key"] != 0).any():
        ids = lines.filter(pl.col("event_key") != 0).select("customer", "event_key").unique()
        own = earlier_events(head, ids.select("customer").unique(), columns)
        removed["event_again"] = own.join(ids, on=["customer", "event_key"], how="semi")
        if earlier is not None:
            earlier = earlier.join(removed["event_again"], on=NONE.columns, how="anti")
    if earlier is not None and corrections in ("overlap", "always"):
        removed["order_again"] = replaced_orders(earlier, late, corrections)
        earlier = earlier.join(removed["order_again"], on=NONE.columns, how="anti")
    warnings = {}
    if earlier is not None and corrections is not None and new.event_key is None:
        same = [*LINE, "order_key"]
        both = [each.filter(IN_ORDER).select(same).unique() for each in (late, earlier)]
        warnings["line_twice"] = both[0].join(both[1], on=same, how="semi", nulls_equal=True).height
    events = pl.concat(removed.values()) if removed else None
    return Correction(
        NONE if events is None else events.select(NONE.columns).sort(NONE.columns),
        {name: each.height for name, each in removed.items() if each.height},
        {} if events is None else money_of(events),
        {name: count for name, count in warnings.items() if count},
    )


def lines_of(log: EventLog) -> pl.DataFrame:
    """The events of a log with the columns of `LINE` and `KEYS`; hashes that it does not have are 0."""
    parts = [log, *([] if log.engagement is None else [log.engagement])]
    ids, items = log.customers["customer"].cast(pl.String), log.items["item"].cast(pl.String)
    channels = pl.Series(log.meta["channels"], dtype=pl.String)
    frames = []
    for part in parts:
        owner = np.repeat(np.arange(len(log)), np.diff(part.offsets))
        plain = {name: np.asarray(getattr(part, name)) for name in ("day", "kind", "quantity", "revenue", "discount")}
        keys = {name: getattr(part, name) for name in KEYS}
        plain |= {
            name: np.zeros(owner.size, np.int32) if key is None else np.asarray(key) for name, key in keys.items()
        }
        texts = {
            "customer": named(owner, ids),
            "item": named(part.item, items),
            "channel": named(part.channel, channels),
        }
        frames.append(pl.DataFrame({**texts, **plain}).select(*LINE, *KEYS))
    return pl.concat(frames)


def refuse_known(head: LogHead, new: EventLog, lines: pl.DataFrame, earlier: pl.DataFrame) -> None:
    """Refuse a delivery all events of which the log has.

    Parameters
    ----------
    head : LogHead
        The log.
    new : EventLog
        The log of the delivery.
    lines : polars.DataFrame
        Its events.
    earlier : polars.DataFrame
        Events of the log, of the same customers and days.

    Raises
    ------
    DataError
        If it does.

    Notes
    -----
    Events of a part without hashes are compared without them.
    """
    keys = [name for name in KEYS if (lines[name] != 0).any()]
    keyed = pl.col("keyed") if keys else pl.lit(True)
    if not has_all(lines, earlier.filter(keyed), [*LINE, *keys]) and not has_all(
        lines, earlier.filter(~keyed), [*LINE]
    ):
        return
    days = [to_date(day).isoformat() for day in (new.first_event_day, head.last_event_day)]
    raise DataError(
        f"the delivery begins on {days[0]}, but the log ends on {days[1]} and has its {lines.height:,} events already; "
        "prepare both together if they are others that look the same, or if a line of an order was deleted"
    )


def has_all(lines: pl.DataFrame, earlier: pl.DataFrame, columns: list[str]) -> bool:
    """Whether each line occurs among the earlier ones, as often as it is delivered."""
    one, other = (each.group_by(columns).agg(count=pl.len().cast(pl.Int64)) for each in (lines, earlier))
    both = one.join(other, on=columns, how="left", nulls_equal=True, suffix="_earlier")
    return bool((both["count"] <= both["count_earlier"].fill_null(0)).all())


def deletes_lines(earlier: pl.DataFrame, late: pl.DataFrame, corrections: str) -> bool:
    """Whether a delivery has fewer lines of an order than each part of the log that has the order.

    Parameters
    ----------
    earlier : polars.DataFrame
        Events of the log.
    late : polars.DataFrame
        Events of the delivery.
    corrections : {"overlap", "always"}
        See `propensity.ingest.rule.settle.settle`.

    Returns
    -------
    bool
        Whether it corrects such an order.

    Notes
    -----
    A base may be made of several deliveries, so that a shorter order may be one of them: these orders do not count.
    """
    size = pl.len().alias("size")
    old = earlier.filter(IN_ORDER).group_by(*ORDER, "part").agg(size)
    fewest = old.group_by(ORDER).agg(fewest=pl.when((pl.col("part") > 0).all()).then(pl.col("size").min()))
    new = late.filter(IN_ORDER).group_by(ORDER).agg(size).join(fewest, on=ORDER, how="inner")
    shorter = new.filter(pl.col("size") < pl.col("fewest"))
    return bool(replaced_orders(earlier, late, corrections).join(shorter, on=ORDER, how="semi").height)


def replaced_orders(earlier: pl.DataFrame, late: pl.DataFrame, corrections: str) -> pl.DataFrame:
    """The events of orders that a delivery corrects.

    Parameters
    ----------
    earlier : polars.DataFrame
        Events of the log; each part counts as one delivery.
    late : polars.DataFrame
        Events of the delivery.
    corrections : {"overlap", "always"}
        See `propensity.ingest.rule.settle.settle`.

    Returns
    -------
    polars.DataFrame
        Rows of `earlier`.
    """
    named_orders = pl.col("order_key") != 0
    old = earlier.filter(named_orders, IN_ORDER).select(*ORDER, "part", "item").unique()
    new = late.filter(named_orders, IN_ORDER).select(*ORDER, "item").unique()
    if corrections == "always":
        orders = old.join(new, on=ORDER, how="semi")
    else:
        size = old.group_by(*ORDER, "part").agg(size=pl.len())
        shared = old.join(new, on=[*ORDER, "item"], how="semi").group_by(*ORDER, "part").agg(shared=pl.len())
        both = size.join(shared, on=[*ORDER, "part"], how="inner")
        orders = both.filter(pl.col("shared") >= OVERLAP_SHARE * pl.col("size"))
    return earlier.join(orders, on=[*ORDER, "part"], how="semi")


def money_of(events: pl.DataFrame) -> dict[str, float]:
    """Money that moves in the account when events of the log are replaced: see `propensity.ingest.money`."""
    revenue, discount = pl.col("revenue").cast(pl.Float64), pl.col("discount").cast(pl.Float64).abs()
    bought = pl.col("kind") == PURCHASE
    paid, off, returned = events.select(
        paid=revenue.filter(bought).sum(), off=discount.filter(bought).sum(),
        returned=revenue.filter(pl.col("kind") == RETURN).sum(),
    ).row(0)  # fmt: skip
    return {"net": -paid - returned, "discounts": -off, "returns": returned, "merged": paid + off}


def corrected_meta(meta: Mapping[str, Any], change: Correction) -> dict[str, Any]:
    """The metadata of a delivery with what it changes in the log, so that the accounts add up to those of both.

    Parameters
    ----------
    meta : mapping
        Metadata of the log of the delivery.
    change : Correction
        What it changes.

    Returns
    -------
    dict
        With other `rows`, `money` and `warnings`; `used` counts the replaced events as negative.
    """
    rows = meta["rows"]
    merged = {
        name: rows["merged"].get(name, 0) + change.merged.get(name, 0) for name in {**rows["merged"], **change.merged}
    }
    counts = rows | {"used": rows["used"] - change.removed.height, "merged": dict(sorted(merged.items()))}
    warnings = {
        name: meta["warnings"].get(name, 0) + change.warnings.get(name, 0)
        for name in {**meta["warnings"], **change.warnings}
    }
    money = {name: round(value + change.money.get(name, 0.0), 2) + 0.0 for name, value in meta.get("money", {}).items()}
    own = {"money": money} if "money" in meta else {}
    return {**meta, "rows": counts, "warnings": dict(sorted(warnings.items())), **own}
