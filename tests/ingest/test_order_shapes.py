"""Net revenue by customer, day and item is a plain sum, whatever the shape in which a shop exports its orders."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from propensity.data.event_log import EventLog
from propensity.ingest.build import prepare
from propensity.ingest.source.table import Table

HEAD = ("no", "of", "mail", "on", "state", "money", "sku", "text", "n", "sum", "off", "cart")
COLUMNS: dict[str, str | None] = {
    "order": "no", "parent": "of", "customer": "mail", "day": "on", "currency": "money", "item": "sku",
    "description": "text", "quantity": "n", "revenue": "sum", "discount": "off", "order_discount": "cart",
}  # fmt: skip
RATES = {"EUR": 1.0, "USD": 0.5}
FOLDERS = count()
PACKED = 10  # shops in one delivery, each with customers of its own


class Line(NamedTuple):
    """A line of an order."""

    item: str
    units: int
    cents: int  # price of one unit
    off: int  # discount in percent


class Order(NamedTuple):
    """An order of a made-up shop."""

    customer: str
    day: date
    number: int  # it starts again every day and with another customer
    state: str
    money: str
    lines: list[Line]
    cart: int  # discount on the whole order in percent
    postage: bool  # whether a line of postage follows
    refunded: bool  # whether its first line comes back on 1 March, as an order without a customer
    corrected: bool  # whether it was delivered before with one more unit of each line


class Shape(NamedTuple):
    """How a shop exports its orders."""

    header_once: bool
    revenue_is: str
    percent: bool  # whether discounts are percentages, otherwise amounts
    decimal: str
    separator: str


orders = st.builds(
    Order,
    customer=st.sampled_from(["ann", "bob", "cy"]),
    day=st.dates(date(2024, 1, 1), date(2024, 2, 29)),
    number=st.integers(1, 3),
    state=st.sampled_from(["paid", "paid", "void"]),
    money=st.sampled_from(["EUR", "USD"]),
    lines=st.lists(
        st.builds(Line, st.sampled_from("mnop"), st.integers(1, 9), st.integers(1, 999), st.sampled_from([0, 10, 50])),
        min_size=1, max_size=4,
    ),
    cart=st.sampled_from([0, 0, 20]), postage=st.booleans(), refunded=st.booleans(), corrected=st.booleans(),
)  # fmt: skip
shapes = st.builds(
    Shape, st.booleans(), st.sampled_from(["gross", "unit", "net"]), st.booleans(), st.sampled_from(".,"),
    st.sampled_from(",;\t"),
)  # fmt: skip


def rows_of(order: Order, number: str, shape: Shape, extra: int = 0) -> list[tuple[Any, ...]]:
    """The exported lines of an order; `extra` units in each."""
    gross = [(line.units + extra) * line.cents / 100 for line in order.lines]
    after = [amount * (1 - line.off / 100) for amount, line in zip(gross, order.lines, strict=True)]
    cart = f"{order.cart}%" if shape.percent else sum(after) * order.cart / 100
    rows = []
    for k, (line, amount, left) in enumerate(zip(order.lines, gross, after, strict=True)):
        facts = ("", "", "", "") if shape.header_once and k else order[:2] + order[3:5]
        off = f"{line.off}%" if shape.percent else amount - left
        written = {"gross": amount, "unit": line.cents / 100, "net": left * (1 - order.cart / 100)}[shape.revenue_is]
        where = cart if k == 0 or not shape.header_once else ""
        rows.append((number, "", *facts, line.item, f"thing {line.item}", line.units + extra, written, off, where))
    if order.postage:
        facts = ("", "", "", "") if shape.header_once else order[:2] + order[3:5]
        rows.append((number, "", *facts, "p9", "Next Day Carriage", 1, 4.95, 0, "" if shape.header_once else cart))
    return rows


def delivered(shop: list[Order], shape: Shape) -> tuple[dict[str, list[tuple[Any, ...]]], defaultdict[Any, float]]:
    """Files of the shop, and its net revenue by customer, day and item."""
    expected: defaultdict[Any, float] = defaultdict(float)
    files: dict[str, list[tuple[Any, ...]]] = {"0": [], "1": [], "2": [], "3": []}
    for k, order in enumerate(shop):
        paid = order.state == "paid"
        refunded, corrected = order.refunded and paid, order.corrected
        number = f"U{k}" if refunded or corrected else f"{order.customer}{order.number}"
        if corrected:
            files["0"] += rows_of(order, number, shape, extra=1)
        files[str(order.day.month)] += rows_of(order, number, shape)
        for line in order.lines if paid else []:
            net = line.units * line.cents / 100 * (1 - line.off / 100) * (1 - order.cart / 100) * RATES[order.money]
            expected[order.customer, order.day, line.item] += net
        if refunded:
            line = order.lines[0]
            back = (f"R{k}", f"U{k}", "", "2024-03-01", "paid", order.money, line.item, "", -line.units)
            amount = line.cents / 100 * (1 if shape.revenue_is == "unit" else -line.units)
            files["3"].append((*back, amount, 0, ""))
            expected[order.customer, date(2024, 3, 1), line.item] -= line.units * line.cents / 100 * RATES[order.money]
    return files, expected


def cell(value: Any, shape: Shape) -> str:
    """A value as the shop writes it, in quotation marks where it must be."""
    text = f"{value:.6f}".replace(".", shape.decimal) if isinstance(value, float) else str(value)
    return f'"{text}"' if shape.separator in text else text


def log_of(shop: list[Order], shape: Shape, folder: Path) -> tuple[EventLog, defaultdict[Any, float]]:
    """The log of a shop's files, and what it should hold."""
    files, expected = delivered(shop, shape)
    place = folder / str(next(FOLDERS))
    place.mkdir()
    for name, rows in files.items():
        lines = [HEAD, *rows] if rows else []
        text = "".join(shape.separator.join(cell(value, shape) for value in row) + "\n" for row in lines)
        if text:
            (place / f"sales-{name}.csv").write_text(text)
    source = Table(
        "sales-*.csv", dict(COLUMNS), folder=str(place), leave_out={"state": ["void"]}, rates=RATES,
        header_once=shape.header_once, revenue_is=shape.revenue_is, decimal=shape.decimal, separator=shape.separator,
        currency="EUR",
    )  # fmt: skip
    return prepare(source, place / "log"), expected


def check_net_revenue(shop: list[Order], shape: Shape, folder: Path) -> None:
    assume(any(order.state == "paid" for order in shop))
    log, expected = log_of(shop, shape, folder)
    owner = log.customer_id[np.repeat(np.arange(len(log)), np.diff(log.offsets))]
    sums: defaultdict[Any, float] = defaultdict(float)
    for customer, day, item, revenue in zip(owner, log.day, log.item, log.revenue, strict=True):
        sums[customer, date.fromordinal(int(day) + 719_163), log.items["item"][int(item)]] += float(revenue)
    differences = {
        key: sums[key] - expected[key] for key in {*sums, *expected} if abs(sums[key] - expected[key]) > 0.004
    }
    assert not differences
    money = log.meta["money"]
    assert abs(money["gross"] - sum(value for name, value in money.items() if name != "gross")) < 0.06
    assert abs(money["net"] - sum(expected.values())) < 0.02 + 1e-6 * abs(money["net"])


def packed(shops: list[list[Order]]) -> list[Order]:
    """The orders of several shops as those of one, with customers of each shop."""
    return [order._replace(customer=f"{order.customer}{k}") for k, shop in enumerate(shops) for order in shop]


several = st.lists(
    st.lists(orders, min_size=1, max_size=12, unique_by=lambda order: order[:3]), min_size=PACKED, max_size=PACKED
).map(packed)
FIXTURE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much]


@pytest.mark.slow
@settings(max_examples=200 // PACKED, deadline=None, suppress_health_check=FIXTURE)
@given(shop=several, shape=shapes)
def test_net_revenue_is_that_of_a_plain_sum_in_every_shape(shop: list[Order], shape: Shape, tmp_path: Path) -> None:
    check_net_revenue(shop, shape, tmp_path)


@pytest.mark.long
@settings(max_examples=10_000 // PACKED, deadline=None, suppress_health_check=FIXTURE, database=None)
@given(shop=several, shape=shapes)
def test_net_revenue_is_that_of_a_plain_sum_in_ten_thousand_shops(
    shop: list[Order], shape: Shape, tmp_path: Path
) -> None:
    check_net_revenue(shop, shape, tmp_path)
