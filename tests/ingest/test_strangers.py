"""Exports as shops write them: each is read rightly, or what cannot be read is counted or refused in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from propensity.data.contact import sent_messages
from propensity.data.event_log import EventLog, to_date
from propensity.errors import ConfigurationError, DataError
from propensity.ingest.build import prepare
from propensity.ingest.source.quoting import records
from propensity.ingest.source.table import Table

HEAD = "customer,date,item,amount\n"
COLUMNS = {"customer": "customer", "day": "date", "item": "item", "revenue": "amount"}
BERLIN = {"timezone": "Europe/Berlin"}


class Export(NamedTuple):
    """An export and what is right."""

    text: str
    revenue: float
    days: tuple[str, ...] = ()
    columns: dict[str, str] = {}
    settings: dict[str, Any] = {}
    counts: dict[str, int] = {}  # rules and warnings


def amounts(*cells: str) -> str:
    return HEAD + "".join(f'c{k},2024-01-{k + 1:02d},m{k},"{cell}"\n' for k, cell in enumerate(cells))


def days(*cells: str) -> str:
    return HEAD + "".join(f'c{k},"{cell}",m{k},1\n' for k, cell in enumerate(cells))


EXPORTS = {
    # layout
    "tabs below a preamble": Export(
        "Report\tsales\nMade 2024\n\ncustomer\tdate\titem\tamount\na\t2024-01-05\tm\t2,50\nb\t2024-01-06\tn\t3,00\n",
        5.5,
    ),
    "a preamble with commas": Export("Store: A, B, C\nFrom: 1, to: 2\n\n" + HEAD + "a,2024-01-05,m,2\n", 2),
    "a mark of inches": Export(HEAD + 'a,2024-01-05,5" pipe,2\nb,2024-01-06,6" pipe,3\nc,2024-01-07,n,4\n', 9),
    "a mark that is not closed": Export(HEAD + 'a,2024-01-05,"pipe,2\nb,2024-01-06,m,3\nc,2024-01-07,n,4\n', 9),
    "a backslash before a mark": Export(HEAD + 'a,2024-01-05,"5\\" pipe",2\nb,2024-01-06,m,3\n', 5),
    "a cell of two lines": Export(HEAD + 'a,2024-01-05,"m\nx",2\nb,2024-01-06,m,3\n', 5),
    "a last line of totals": Export(HEAD + "a,2024-01-05,m,2\nTotal,,,2\n", 2, counts={"day_missing": 1}),
    "a line of units": Export(HEAD + "id,ISO,sku,EUR\na,2024-01-05,m,2\n", 2, counts={"day_unreadable": 1}),
    "a repeated header": Export(HEAD + "a,2024-01-05,m,2\n" + HEAD, 2, counts={"day_unreadable": 1}),
    # amounts
    "no cents": Export(amounts("12,-", "3,50", "4.–"), 19.5),
    "a sign of minus": Export(amounts("12.00", "−3.00"), 12, counts={"return_before_purchase": 1}),
    "a minus behind": Export(amounts("12.00", "3.00-"), 12, counts={"return_before_purchase": 1}),
    "an apostrophe": Export(amounts("1’299.50", "12.00"), 1311.5),
    "a narrow space": Export(amounts("1\u202f299,50", "12,00"), 1311.5),
    "Australian dollars": Export(amounts("A$12.50", "A$3"), 15.5),
    "a lira": Export(amounts("₺12,50", "3,00 TL"), 15.5),
    "Indian groups": Export(amounts("1,23,456.50", "12.00"), 123468.5),
    # days
    "serial dates with a comma": Export(days("45296,97", "45297,5"), 2, ("2024-01-05", "2024-01-06")),
    "serial dates with a time": Export(days("45296.97", "45297.5"), 2, ("2024-01-05", "2024-01-06")),
    "seconds with a fraction": Export(days("1704412800.5", "1704499200.25"), 2, ("2024-01-05", "2024-01-06")),
    "d/m/Y with an offset": Export(
        days("13/03/2024 23:30:00 -0500", "05/03/2024 10:00Z"), 2, ("2024-03-05", "2024-03-14"), settings=BERLIN
    ),
    "an offset of hours": Export(
        days("2024-03-13 23:30:00+00", "2024-03-05 23:30:00.123456+00"), 2, ("2024-03-06", "2024-03-14"),
        settings=BERLIN,
    ),
    "an abbreviated zone": Export(days("01/13/2024 11:30 PM EST"), 1, ("2024-01-14",), settings=BERLIN),
    "a zone in brackets": Export(days("2024-03-13T23:30:00Z[UTC]"), 1, ("2024-03-14",), settings=BERLIN),
    # ids
    "addresses in any case": Export(
        HEAD + "Ann@X.org,2024-01-05,m,1\n<ann@x.org>,2024-01-06,n,1\n", 2, counts={"customers": 1, "id_rewritten": 2},
        settings={"key": b"k" * 32},
    ),
    "ids as formulas": Export(HEAD + '="007",2024-01-05,m,1\n="007",2024-01-06,n,1\n', 2, counts={"customers": 1}),
    "errors of a spreadsheet": Export(HEAD + "#REF!,2024-01-05,m,1\nb,2024-01-06,n,1\n", 1,
                                      counts={"customer_missing": 1}),
    "ids cut with a comma": Export(HEAD + '"1,23457E+12",2024-01-05,m,1\nb,2024-01-06,n,1\n', 1,
                                   counts={"id_truncated": 1}),
    "a final consumer": Export(HEAD + "Consumidor Final,2024-01-05,m,1\nb,2024-01-06,n,1\n", 1,
                               counts={"customer_missing": 1}),
    # orders
    "a number at another till": Export(
        "customer,date,item,amount,order,till\na,2024-01-05,m,1,1,A\na,2024-01-05,n,2,1,B\n", 3,
        columns={"order": "order", "channel": "till"},
    ),
    "a refund without a customer": Export(
        "customer,date,item,amount,qty,order,of\na,2024-01-05,m,20,2,1,\n,2024-01-09,m,-10,-1,2,1\n", 10,
        columns={"order": "order", "quantity": "qty", "parent": "of"}, counts={"customers": 1, "line_returned": 1},
    ),
    "a state in another case": Export(
        "customer,date,item,amount,state\na,2024-01-05,m,20,Refunded\nb,2024-01-06,m,7,paid\n", 7,
        settings={"leave_out": {"state": ["refunded"]}}, counts={"left_out": 1},
    ),
    "kinds as floats": Export(
        "customer,date,item,amount,kind\na,2024-01-05,m,4,1.0\na,2024-01-06,m,1,2.0\n", 3, columns={"kind": "kind"},
        settings={"kinds": {1: "purchase", 2: "return"}}, counts={"line_returned": 1},
    ),
}  # fmt: skip


def log_of(folder: Path, files: dict[str, str | bytes], events: str = "sales.csv", **settings: Any) -> EventLog:
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    key = settings.pop("key", None)
    columns = settings.pop("columns", COLUMNS)
    return prepare(Table(events, dict(columns), folder=str(folder), **settings), folder / "log", key=key)


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_is_read_rightly_and_what_it_lacks_is_counted(name: str, tmp_path: Path) -> None:
    export = EXPORTS[name]
    log = log_of(tmp_path, {"sales.csv": export.text}, columns=COLUMNS | export.columns, **export.settings)
    assert log.revenue.sum() == pytest.approx(export.revenue)
    if export.days:
        assert sorted({to_date(int(day)).isoformat() for day in log.day}) == list(export.days)
    rows = log.meta["rows"]
    found = {**log.meta["warnings"], **rows["quarantined"], **rows["dropped"], "customers": len(log)}
    assert {code: found.get(code) for code in export.counts} == export.counts


PRICES = "customer,date,sku,qty\na,2024-01-05,m,1\nb,2024-06-05,m,1\nc,2023-06-05,m,1\n"
PRICED = {"customer": "customer", "day": "date", "item": "sku", "quantity": "qty", "revenue": "price"}


@pytest.mark.parametrize(
    ("rows", "to", "revenue", "unpriced"),
    [
        ("m,1,2024-01-01,2024-02-01\nm,9,2024-06-05,9999-12-31\nm,4,2023-06-05,2023-06-05\n", "valid_to", 14, 0),
        ("m,1,2024-01-01,2024-02-01\nm,9,2024-07-01,2024-12-31\n", "valid_to", 1, 2),
        ("m,1,2024-01-01,2024-02-01\nm,9,2024-07-01,2024-12-31\n", "none", 2, 1),
        ("m,1,01.01.2024,\nm,9,13.05.2024,\n", "valid_to", 10, 1),
    ],
)  # fmt: skip
def test_a_dated_price_is_used_from_its_first_day_to_its_last(
    rows: str, to: str, revenue: float, unpriced: int, tmp_path: Path
) -> None:
    join = {"table": "prices.csv", "by": "sku", "from": "valid_from", "to": to}
    files: dict[str, str | bytes] = {"sales.csv": PRICES, "prices.csv": "sku,price,valid_from,valid_to\n" + rows}
    log = log_of(tmp_path, files, columns=PRICED, revenue_is="unit", joins=[join])
    assert log.revenue.sum() == revenue
    assert log.meta["rows"]["quarantined"] == ({"revenue_unreadable": unpriced} if unpriced else {})


@pytest.mark.parametrize("end", ["valid_to", "Valid until", "gültig bis", "end_date", "date_fin", "hasta"])
def test_a_price_list_with_last_days_is_refused_until_something_is_said_about_them(end: str, tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "sales.csv": PRICES,
        "prices.csv": f"sku,price,start,{end}\nm,1,2023-01-01,2023-02-01\n",
    }
    join = {"table": "prices.csv", "by": "sku", "from": "start"}
    with pytest.raises(DataError, match=rf"has the column {end} beside start; set data.source.joins\[0\].to={end} if"):
        log_of(tmp_path, files, columns=PRICED, revenue_is="unit", joins=[join])
    with pytest.raises(ConfigurationError, match=r"joins\[0\].to=start needs from"):
        log_of(tmp_path, files, columns=PRICED, joins=[{"table": "prices.csv", "by": "sku", "to": "start"}])


SALES = HEAD + "ann,2024-01-05,m,2\nbob,2024-01-06,n,3\n"
CONSENTS = {
    "d/m/Y": "who;ok;on\nann;yes;03/01/2024\nann;no;13/01/2024\nbob;yes;05/02/2024\n",
    "serial dates with a comma": "who;ok;on\nann;yes;45294,5\nann;no;45304,25\nbob;yes;45327\n",
    "offsets": "who,ok,on\nann,yes,2024-01-03T23:30:00Z\nann,no,2024-01-13T23:30:00+00\nbob,yes,2024-02-05\n",
    "Turkish": "who,ok,on\nann,evet,2024-01-03\nann,hayır,2024-01-13\nbob,Evet,2024-02-05\n",
    "words of a newsletter": "who,ok,on\nann,subscribed,2024-01-03\nann,unsubscribed,2024-01-13\n"
    "bob,Subscribed,2024-02-05\n",
    "a preamble": "Export\n\nwho,ok,on\nann,yes,2024-01-03\nann,no,2024-01-13\nbob,yes,2024-02-05\n",
}  # fmt: skip


@pytest.mark.parametrize("name", CONSENTS)
def test_a_withdrawal_is_read_however_the_table_is_written(name: str, tmp_path: Path) -> None:
    setting = {"path": "consents.csv", "customer": "who", "consent": "ok", "day": "on"}
    files: dict[str, str | bytes] = {"sales.csv": SALES, "consents.csv": CONSENTS[name]}
    log = log_of(tmp_path, files, consents=setting, **BERLIN)
    assert dict(log.customers.select("customer", "suppressed").iter_rows()) == {"ann": True, "bob": False}
    assert log.meta["warnings"] == {"consent_withdrawn": 1}


CONTACTS = {"path": "sent.csv", "customer": "who", "day": "on", "cost": "paid", "probability": "p"}


@pytest.mark.parametrize(
    ("text", "costs", "probabilities"),
    [
        ("who;on;paid;p\nann;03.01.2024;0,08;0,5\nbob;13.01.2024;1,25;25%\n", [0.08, 1.25], [0.5, 0.25]),
        ("who,on,paid,p\nann,45294.5,0.08,50 %\nbob,45304,abc,50\n", [0.08, None], [0.5, None]),
        ("who,on,paid,p\nann,2024-01-02 23:30:00+00,A$1.5,.5\nbob,2024-01-13,A$2,.25\n", [1.5, 2.0], [0.5, 0.25]),
    ],
)
def test_a_table_of_contacts_has_formats_of_its_own(
    text: str, costs: list[Any], probabilities: list[Any], tmp_path: Path
) -> None:
    log = log_of(tmp_path, {"sales.csv": SALES, "sent.csv": text}, contacts=CONTACTS, **BERLIN)
    sent = sent_messages(log).sort("day")
    assert [day.isoformat() for day in sent["day"]] == ["2024-01-03", "2024-01-13"]
    assert sent["cost"].to_list() == pytest.approx(costs) and sent["probability"].to_list() == probabilities


def test_costs_of_contacts_in_two_currencies_are_refused(tmp_path: Path) -> None:
    text = "who,on,paid,p\nann,2024-01-03,€1,.5\nbob,2024-01-13,$1,.5\n"
    with pytest.raises(DataError, match=r"sent\.csv has amounts in EUR, USD without exchange rates"):
        log_of(tmp_path, {"sales.csv": SALES, "sent.csv": text}, contacts=CONTACTS)


def test_a_table_of_items_with_two_columns_of_one_name_is_refused_where_they_differ(tmp_path: Path) -> None:
    same, other = "item,kind,kind\nm,A,A\nn,B,B\n", "item,kind,kind\nm,A,B\nn,C,D\n"
    assert log_of(tmp_path, {"sales.csv": SALES, "items.csv": same}, items="items.csv").items["kind"].to_list() == [
        "A",
        "B",
    ]
    with pytest.raises(DataError, match=r"has the column kind \(data.source.items\) twice, with different values"):
        log_of(tmp_path, {"sales.csv": SALES, "items.csv": other}, items="items.csv")


@pytest.mark.parametrize(
    ("ids", "customers"),
    [
        (pl.Series([9007199254740993.0, 9007199254740992.0, 5.0]), [5]),
        (pl.Series([9007199254740993, 9007199254740992, 5]), [5, 9007199254740992, 9007199254740993]),
        (pl.Series([2**64 - 1, 2**63 + 5, 5], dtype=pl.UInt64), ["18446744073709551615", "5", "9223372036854775813"]),
        (pl.Series([7, 8, 5], dtype=pl.UInt64), [5, 7, 8]),
    ],
    ids=["floats", "whole numbers", "unsigned", "small unsigned"],
)
def test_large_ids_are_exact_or_set_aside(ids: pl.Series, customers: list[Any], tmp_path: Path) -> None:
    frame = pl.DataFrame({"customer": ids, "date": ["2024-01-05"] * 3, "item": ["m"] * 3, "amount": [1.0, 2.0, 3.0]})
    frame.write_parquet(tmp_path / "sales.parquet")
    log = log_of(tmp_path, {}, "sales.parquet")
    assert log.customer_id.tolist() == customers
    assert log.meta["rows"]["quarantined"] == ({"id_truncated": 2} if len(customers) == 1 else {})


def test_a_mark_that_is_never_closed_costs_one_line_of_many() -> None:
    lines = ['c,"open,1\n', *(f"c{k},m,{k}\n" for k in range(60)), 'c,"two\n', 'lines",1\n', "c,x,1\n"]
    read = list(records(lines, ",", '"'))
    assert [record.fields for record in read if record.fields] == [["c", '"open', "1"]]
    assert len(read) == 63 and read[-2].text == 'c,"two\nlines",1\n'
