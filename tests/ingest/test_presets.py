# ruff: noqa: E501
"""The presets read exports in the shape of their platform; the exports here are made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from propensity.config import conf_folder
from propensity.data.event_log import EventLog, to_date
from propensity.errors import DataError
from propensity.ingest.build import prepare

KEY = b"k" * 32
SHOPIFY = """Name,Email,Financial Status,Paid at,Currency,Subtotal,Shipping,Total,Discount Amount,Created at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku,Refunded Amount,Vendor,Lineitem discount
#1,Ann@example.org,paid,2024-02-03,EUR,27.00,5,32.00,3.00,2024-02-03 23:30:00 +0100,1,Lamp,20.00,L1,0.00,Oak,0.00
#1,Ann@example.org,,,,,,,,2024-02-03 23:30:00 +0100,2,Bulb,5.00,,,Oak,0.00
#2,bob@example.org,refunded,2024-02-04,EUR,60,5,65.00,0.00,2024-02-04 11:00:00 +0100,1,Lamp,20.00,L1,65.00,Oak,0.00
#2,bob@example.org,,,,,,,,2024-02-04 11:00:00 +0100,2,Chair,20.00,C1,,Ash,0.00
#3,ann@example.org,partially_refunded,2024-02-05,EUR,15.00,5,20.00,5.00,2024-02-05 12:00:00 +0100,1,Lamp,20.00,L1,6.00,Oak,5.00
#4,,paid,2024-02-06,EUR,8.00,0,8.00,0.00,2024-02-06 12:00:00 +0100,1,Gift Card,5.00,G1,0.00,,0.00
#4,,,,,,,,,2024-02-06 12:00:00 +0100,1,Chair,3.00,C1,,,0.00
"""
WOOCOMMERCE = """order_id,parent_id,status,type,billing_email,date_created,sku,name,qty,line_total
501,,wc-completed,shop_order,ann@example.org,2024-01-05 10:00:00,m,Mug,2,20.00
502,,wc-cancelled,shop_order,ann@example.org,2024-01-06 10:00:00,n,Net,1,8.00
503,501,wc-completed,shop_order_refund,,2024-01-09 09:00:00,m,Mug,-1,-10.00
504,,wc-processing,shop_order,bob@example.org,2024-01-09 09:00:00,,Nap,1,4.00
"""
MAGENTO = """item_id,order_id,parent_item_id,created_at,product_type,sku,name,qty_ordered,base_row_total,base_discount_amount
1,10,,2024-03-01 23:30:00,configurable,shirt-m,Shirt,2.0000,40.0000,4.0000
2,10,1,2024-03-01 23:30:00,simple,shirt-m,Shirt M,2.0000,0.0000,0.0000
3,10,,2024-03-01 23:30:00,simple,sock,Sock,1.0000,5.0000,0.5000
4,11,,2024-03-02 10:00:00,simple,sock,Sock,1.0000,5.0000,0.0000
"""
MAGENTO_ORDERS = """entity_id,increment_id,status,customer_email,base_currency_code,created_at
10,000010,complete,ann@example.org,EUR,2024-03-01 23:30:00
11,000011,canceled,bob@example.org,EUR,2024-03-02 10:00:00
"""
SQUARE = """Date,Time,Time Zone,Category,Item,Qty,Price Point Name,SKU,Gross Sales,Discounts,Net Sales,Tax,Transaction ID,Event Type,Location,Customer ID
2024-01-15,09:10:00,Eastern Time (US & Canada),Coffee,Latte,2.0,Large,,$9.00,-$1.00,$8.00,$0.70,t1,Payment,Main St,c1
2024-01-15,09:11:00,Eastern Time (US & Canada),Coffee,Latte,1.0,Small,,$3.50,$0.00,$3.50,$0.30,t2,Payment,Main St,
2024-01-16,09:11:00,Eastern Time (US & Canada),Coffee,Latte,-1.0,Large,,-$4.00,$0.00,-$4.00,-$0.30,t3,Refund,Main St,c1
2024-01-17,09:11:00,Eastern Time (US & Canada),Goods,Mug,1.0,,M1,"$1,012.00",$0.00,"$1,012.00",$1.00,t4,Payment,Main St,c2
"""
RETAIL = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
536365,85123A,WHITE HEART HOLDER,6,12/1/2010 8:26,2.55,17850,United Kingdom
536370,POST,POSTAGE,3,12/13/2010 8:45,18.0,12583,France
C536379,D,Discount,-1,12/13/2010 9:41,27.5,14527,United Kingdom
C536383,85123A,WHITE HEART HOLDER,-1,12/14/2010 9:49,2.55,17850,United Kingdom
536544,DOT,DOTCOM POSTAGE,1,12/14/2010 14:32,569.77,,United Kingdom
541432,21491,SET OF THREE NAPKINS,12,12/15/2010 15:25,1.95,,United Kingdom
541433,M,Manual,1,12/15/2010 15:25,39.0,12583,France
"""


def log_of(preset: str, folder: Path, files: dict[str, str], *overrides: str) -> EventLog:
    for name, text in files.items():
        (folder / name).write_text(text)
    settings = [f"data/source={preset}", f"data.source.folder={folder}", *overrides]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        cfg = compose("prepare", overrides=settings)
    return prepare(instantiate(cfg.data["source"], _convert_="all"), folder / "log", key=KEY)


def test_shopify_orders_are_whole_after_their_discounts(tmp_path: Path) -> None:
    log = log_of("shopify", tmp_path, {"orders.csv": SHOPIFY}, "data.source.events=orders.csv")
    assert log.revenue.sum() == pytest.approx(27 + (15 - 6) + 3) and log.meta["currency"] == "EUR"
    assert log.meta["rows"]["dropped"] == {"left_out": 2, "not_a_product": 1}
    assert len(log) == 2 and log.customers["guest"].sum() == 1, "addresses fold case, and order #4 has no customer"
    assert sorted(log.items["item"]) == ["Bulb", "C1", "L1"], "an item without a code is its name"
    assert to_date(log.first_day).isoformat() == "2024-02-03"
    assert log.meta["money"] == {"gross": 118.0, "net": 39.0, "discounts": 14.0, "returns": 0.0, "merged": 0.0,
                                 "quarantined": 0.0, "dropped": 65.0}  # fmt: skip
    with pytest.raises(DataError, match="e-mail"):
        log_without_key(tmp_path)


def log_without_key(folder: Path) -> EventLog:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        settings = ["data/source=shopify", f"data.source.folder={folder}", "data.source.events=orders.csv"]
        cfg: Any = compose("prepare", overrides=settings)
    return prepare(instantiate(cfg.data["source"], _convert_="all"), folder / "open")


def test_woocommerce_refunds_are_those_of_the_customer_of_their_order(tmp_path: Path) -> None:
    log = log_of("woocommerce", tmp_path, {"items.csv": WOOCOMMERCE}, "data.source.events=items.csv")
    assert log.revenue.sum() == 14 and len(log) == 2
    assert log.meta["rows"]["dropped"] == {"left_out": 1} and log.meta["rows"]["quarantined"] == {}


def test_magento_lines_are_net_of_their_discount_and_on_the_day_of_the_shop(tmp_path: Path) -> None:
    files = {"sales_order_item.csv": MAGENTO, "sales_order.csv": MAGENTO_ORDERS}
    log = log_of("magento", tmp_path, files, "data.source.timezone=Europe/Madrid")
    assert log.revenue.sum() == 36 + 4.5 and log.meta["rows"]["dropped"] == {"left_out": 2}
    assert to_date(log.first_day).isoformat() == "2024-03-02", "half past eleven in UTC is the next day in Madrid"


def test_magento_refunds_and_cancelled_units_are_taken_off_their_line_with_their_discount(tmp_path: Path) -> None:
    items = """item_id,order_id,parent_item_id,created_at,sku,name,qty_ordered,qty_refunded,qty_canceled,base_row_total,base_discount_amount,base_amount_refunded
1,10,,2024-03-01 10:00:00,shirt,Shirt,4.0000,1.0000,0.0000,40.0000,4.0000,10.0000
2,10,,2024-03-01 10:00:00,sock,Sock,1.0000,1.0000,0.0000,5.0000,0.5000,5.0000
3,10,,2024-03-01 10:00:00,cap,Cap,2.0000,0.0000,1.0000,8.0000,0.0000,0.0000
4,10,,2024-03-01 10:00:00,tie,Tie,1.0000,,,9.0000,0.0000,
5,11,,2024-03-02 10:00:00,sock,Sock,1.0000,0.0000,0.0000,5.0000,0.0000,0.0000
"""
    orders = """entity_id,status,customer_email,base_currency_code,base_adjustment_positive
10,complete,ann@example.org,EUR,4.0000
11,complete,bob@example.org,EUR,
"""
    log = log_of("magento", tmp_path, {"sales_order_item.csv": items, "sales_order.csv": orders})
    kept = {"shirt": 27.0, "cap": 4.0, "tie": 9.0}
    assert log.revenue.sum() == pytest.approx(sum(kept.values()) - 4.0 + 5.0)
    assert log.meta["rows"]["dropped"] == {"refunded": 1} and log.meta["warnings"]["refund_deducted"] == 2
    units = {log.items["item"][int(item)]: units for item, units in zip(log.item, log.quantity, strict=True)}
    assert units == {"shirt": 3.0, "cap": 1.0, "tie": 1.0, "sock": 1.0}
    assert log.meta["money"] == {"gross": 67.0, "net": 41.0, "discounts": 21.0, "returns": 0.0, "merged": 0.0,
                                 "quarantined": 0.0, "dropped": 5.0}  # fmt: skip


def test_woocommerce_refunds_in_a_column_are_what_was_paid_back(tmp_path: Path) -> None:
    text = """order_id,status,billing_email,date_created,item_sku,item_name,item_quantity,item_total,item_refunded,item_refunded_qty
501,completed,ann@example.org,2024-01-05 10:00:00,m,Mug,2,20.00,-10.00,-1
501,completed,ann@example.org,2024-01-05 10:00:00,n,Net,1,8.00,0,0
502,completed,bob@example.org,2024-01-06 10:00:00,n,Net,1,8.00,3.00,0
"""
    log = log_of("woocommerce", tmp_path, {"items.csv": text}, "data.source.events=items.csv")
    assert log.revenue.tolist() == [10.0, 8.0, 5.0] and log.quantity.tolist() == [1.0, 1.0, 1.0]


def test_square_items_have_their_price_points_and_refunds(tmp_path: Path) -> None:
    log = log_of("square_pos", tmp_path, {"items.csv": SQUARE}, "data.source.events=items.csv")
    assert log.revenue.sum() == 8 + 3.5 - 4 + 1012 and log.meta["channels"] == ["Main St"]
    assert sorted(log.items["item"]) == ["Latte|Large", "Latte|Small", "Mug|"]


@pytest.mark.parametrize("names", [("InvoiceNo", "UnitPrice", "CustomerID"), ("Invoice", "Price", "Customer ID")])
def test_both_online_retail_files_are_read_without_what_is_no_product(
    names: tuple[str, str, str], tmp_path: Path
) -> None:
    text = RETAIL
    for one, other in zip(("InvoiceNo", "UnitPrice", "CustomerID"), names, strict=True):
        text = text.replace(one, other)
    log = log_of("online_retail", tmp_path, {"retail.csv": text}, "data.source.events=retail.csv")
    assert log.revenue.sum() == pytest.approx(6 * 2.55 - 2.55 + 12 * 1.95)
    assert log.meta["rows"]["dropped"] == {"not_a_product": 4}
    assert log.meta["not_products"] == {"POST POSTAGE": 1, "D Discount": 1, "DOT DOTCOM POSTAGE": 1, "M Manual": 1}
    whole = log_of("online_retail", tmp_path, {"retail.csv": text}, "data.source.events=retail.csv",
                   "data.source.not_products=[]")  # fmt: skip
    assert "POST" in whole.items["item"].to_list() and whole.meta["warnings"]["not_product_kept"] == 3
    assert whole.meta["not_products"] == log.meta["not_products"]
