"""A table of views and carts is read under names and words of its own, and nothing of it is lost or sold."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hydra.utils import instantiate

from propensity.cli import main
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError
from propensity.ingest.append import append
from propensity.ingest.build import prepare
from propensity.kernel.event import CART, PURCHASE, SEARCH, VIEW

SALES = "order;date;customer;sku;amount\n1;2024-03-01;7;milk;2.5\n2;2024-03-02;8;bread;3\n3;2024-03-09;7;milk;2.5\n"
VIEWS = (
    "visitor;seen at;article;action\n7;05.03.2024 10:00;milk;view\n9;13.03.2024 11:30;cheese;put aside\n"
    "9;14.03.2024;;search\n8;14.03.2024;bread;purchase\n8;;bread;view\n8;14.03.2024;;view\n"
)
COLUMNS = {"customer": "customer", "day": "date", "item": "sku", "revenue": "amount", "order": "order"}
BEHAVIOUR = {"customer": "visitor", "day": "seen at", "item": "article", "kind": "action"}


def log_of(folder: Path, behaviour: dict[str, str] | None, text: str = VIEWS, **settings: Any) -> EventLog:
    """A log of sales and a table of behaviour."""
    (folder / "sales.csv").write_text(SALES)
    (folder / "browsing.csv").write_text(text)
    own = None if behaviour is None else {"path": str(folder / "browsing.csv"), **behaviour}
    given = {"events": str(folder / "sales.csv"), "columns": COLUMNS, "behaviour": own} | settings
    source = instantiate({"_target_": "propensity.ingest.source.table.Table", **given}, _convert_="all")
    return prepare(source, folder / ("without" if behaviour is None else "log"))


def test_every_row_is_an_event_or_in_quarantine(tmp_path: Path) -> None:
    log = log_of(tmp_path, BEHAVIOUR, kinds={"put aside": "cart"})
    rows, engagement = log.meta["rows"], log.engagement
    assert rows["in"] == 9 and rows["used"] == 6
    assert (
        rows["quarantined"] == {"kind_unknown": 1, "day_unreadable": 1, "item_missing": 1}
        or sum(rows["quarantined"].values()) == 3
    )
    assert log.revenue.sum() == 8 and log.kind.tolist().count(PURCHASE) == 3 and log.kind.tolist().count(VIEW) == 1
    assert engagement is not None and sorted(engagement.kind.tolist()) == sorted([CART, SEARCH])
    assert "cheese" in log.items["item"].to_list() and 9 in log.customers["customer"].cast(pl.Int64).to_list()


def test_sales_are_those_of_the_log_without_the_table(tmp_path: Path) -> None:
    whole, without = log_of(tmp_path, BEHAVIOUR, kinds={"put aside": "cart"}), log_of(tmp_path, None)
    sold = [log.kind == PURCHASE for log in (whole, without)]
    for name in ("day", "revenue", "quantity"):
        one, other = (getattr(log, name)[mask] for log, mask in zip((whole, without), sold, strict=True))
        assert one.tolist() == other.tolist()


def test_a_table_without_kinds_is_of_views(tmp_path: Path) -> None:
    own = {name: column for name, column in BEHAVIOUR.items() if name != "kind"}
    assert log_of(tmp_path, own).kind.tolist().count(VIEW) == 3


def test_an_unknown_key_is_refused_with_the_closest(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="data.source.behaviour has no key 'kinds'; the closest key is 'kind'"):
        log_of(tmp_path, BEHAVIOUR | {"kinds": "action"})
    with pytest.raises(ConfigurationError, match="data.source.behaviour needs path, customer, day; day is missing"):
        log_of(tmp_path, {"customer": "visitor"})


def test_the_command_of_the_page_prepares_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from printed import printed

    (command,) = (each for each in printed() if each.place == "data.md" and "out=data/browsing" in each.words)
    (tmp_path / "sales.csv").write_text(SALES)
    (tmp_path / "browsing.csv").write_text(VIEWS)
    monkeypatch.chdir(tmp_path)
    main(list(command.words))
    log = EventLog.open("data/browsing")
    assert log.kind.tolist().count(VIEW) == 1 and log.engagement is not None and CART in log.engagement.kind


def test_an_item_is_described_by_its_first_sale_though_it_was_viewed_before(tmp_path: Path) -> None:
    (tmp_path / "first.csv").write_text("date;customer;sku;amount;category;region\n2024-03-01;8;bread;3;bakery;south\n")
    (tmp_path / "later.csv").write_text("date;customer;sku;amount;category;region\n2024-03-09;7;milk;2.5;dairy;north\n")
    (tmp_path / "views.csv").write_text(VIEWS.splitlines()[0] + "\n7;2024-02-20;milk;view\n9;2024-02-21;cheese;view\n")
    columns = {name: column for name, column in COLUMNS.items() if name != "order"}
    own = {"path": str(tmp_path / "views.csv"), **BEHAVIOUR}

    def source(pattern: str, views: bool) -> Any:
        settings: dict[str, Any] = {"columns": columns, "item_columns": ["category"], "customer_columns": ["region"]}
        settings |= {"events": str(tmp_path / pattern), "behaviour": own if views else None}
        return instantiate({"_target_": "propensity.ingest.source.table.Table", **settings}, _convert_="all")

    whole = prepare(source("*[rt].csv", views=True), tmp_path / "whole")
    prepare(source("first.csv", views=True), tmp_path / "log")
    parts = append(source("later.csv", views=False), tmp_path / "log")
    days = [date.fromisoformat(text).toordinal() - date(1970, 1, 1).toordinal() for text in
            ("2024-03-01", "2024-02-21", "2024-03-09")]  # fmt: skip
    for log in (whole, parts):
        assert log.items.rows() == [("bread", "bakery"), ("cheese", None), ("milk", "dairy")]
        assert log.item_known.tolist() == days
        assert dict(log.customers.select("customer", "region").rows()) == {"7": "north", "8": "south", "9": None}
        assert log.meta["warnings"]["item_without_category"] == 1 + (log is parts)  # milk, viewed before its sale
    assert whole.fingerprint == parts.fingerprint


def test_an_append_does_not_count_customers_and_items_of_the_log_as_unknown(tmp_path: Path) -> None:
    (tmp_path / "first.csv").write_text("date;customer;sku;amount;category\n2024-03-01;7;milk;3;dairy\n")
    (tmp_path / "later.csv").write_text("date;customer;sku;amount;category\n2024-03-09;8;bread;2.5;bakery\n")
    (tmp_path / "views.csv").write_text(VIEWS.splitlines()[0] + "\n7;2024-03-09;milk;view\n")
    (tmp_path / "consents.csv").write_text("customer;consent\n7;yes\n")
    (tmp_path / "more.csv").write_text("customer;consent\n8;yes\n")
    columns = {name: column for name, column in COLUMNS.items() if name != "order"}

    def source(events: str, consents: str, **settings: Any) -> Any:
        entries = {"path": str(tmp_path / consents), "customer": "customer", "consent": "consent"}
        settings |= {"columns": columns, "item_columns": ["category"], "consents": entries}
        table = {"_target_": "propensity.ingest.source.table.Table", "events": str(tmp_path / events), **settings}
        return instantiate(table, _convert_="all")

    prepare(source("first.csv", "consents.csv"), tmp_path / "log")
    views = {"path": str(tmp_path / "views.csv"), **BEHAVIOUR}
    log = append(source("later.csv", "more.csv", behaviour=views), tmp_path / "log")
    assert not {"consent_missing", "item_without_category"} & log.meta["warnings"].keys()
