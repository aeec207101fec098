"""A delivery in Hungarian, a language with its own code page, form of dates and currency sign."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from propensity.errors import DataError
from propensity.ingest.build import prepare
from propensity.ingest.rule.day import DayFormat, read_day
from propensity.ingest.rule.number import read_number
from propensity.ingest.rule.product import names_no_product
from propensity.ingest.source.code_page import code_page, words_beyond_ascii
from propensity.ingest.source.suggestion import draft_source
from propensity.ingest.source.table import Table

HEADER = "rendelés_szám;vásárló;dátum;cikkszám;megnevezés;kategória;mennyiség;egységár;kedvezmény;állapot"
WORDS = ("Fűszeres kolbász", "Őrölt kávé", "Tőkés bor", "Sütőtök", "Túró")
TEXTS = {
    "cp1250": ("szőlő, hűvös, gyümölcs", "żółty ser, gęś, źródło", "příliš žluťoučký kůň", "ţară şi plăcintă"),
    "cp1254": ("Müşteri, ağaç, ışık, çiçek",),
    "cp1252": ("Größe, Käse", "Crème brûlée, garçon, œuf", "São João, ações, fã", "jalapeño, paté", "blåbær, øl",
               "hülkehoone, õun, äädikas", "Price £5 – 20 °C", "piñata §7", "10 m², 5 m³, n° 5, Coca-Cola®, l’eau"),
    "iso8859_2": ("żółty ser, gęś, źródło", "příliš žluťoučký kůň, košile", "ľan, košeľa, mäso", "şuncă şi brânză"),
    "iso8859_15": ("cœur, crème, pâté",),
    "cp1251": ("молоко, хлеб, сыр, колбаса",),
    "cp1253": ("γάλα, ψωμί, τυρί, ελιές",),
    "cp1257": ("pieną, sūris, žuvis, ėriena",),
    "cp850": ("Größe, Käse, Weiß", "maçã, limões, açúcar"),
    "cp852": ("źródło, gęś, żółty", "hűvös, kenyér, zsömle, édes"),
    "mac_roman": ("français, crème, pâté, brûlée, gâteau", "niño, jamón, plátano"),
}  # fmt: skip


def _shop(folder: Path) -> list[str]:
    """Write orders, facts of an order on its first line only, with consents of customers."""
    lines = [HEADER]
    for k in range(60):
        state = "törölve" if k % 10 == 7 else "teljesítve"
        for j in range(2):
            first = (f"V{k % 20:03d}", f"2025.{1 + k // 20:02d}.{1 + k % 20:02d}.", state) if j == 0 else ("", "", "")
            item = (k + j) % 5
            discount = "10%" if k % 4 == 0 else ""
            lines.append(
                f"R{k:04d};{first[0]};{first[1]};{item:02d}-1;{WORDS[item]};Étel {item % 2};{1 + k % 3};"
                f"{item + 1} 290 Ft;{discount};{first[2]}"
            )
    (folder / "rendelések.csv").write_bytes("\r\n".join(lines).encode("cp1250"))
    consents = [f"V{k:03d};e-mail;{('igen', 'nem')[k % 2]};2024.12.0{1 + k % 9}." for k in range(20)]
    text = "\n".join(["vásárló;csatorna;hozzájárulás;dátum", *consents])
    (folder / "hozzájárulások.csv").write_bytes(text.encode("cp1250"))
    return [str(folder / "rendelések.csv"), str(folder / "hozzájárulások.csv")]


def test_a_hungarian_shop_is_drafted_with_its_discounts_cancelled_orders_and_consents(tmp_path: Path) -> None:
    draft = draft_source(_shop(tmp_path))
    assert draft.runs
    assert draft.settings["columns"] == {
        "customer": "vásárló", "day": "dátum", "item": "cikkszám", "quantity": "mennyiség", "revenue": "egységár",
        "order": "rendelés_szám", "discount": "kedvezmény", "description": "megnevezés",
    }  # fmt: skip
    assert draft.settings["revenue_is"] == "unit"
    assert draft.settings["leave_out"] == {"állapot": ["törölve"]}
    assert draft.settings["consents"] == {
        "path": str(tmp_path / "hozzájárulások.csv"), "customer": "vásárló", "consent": "hozzájárulás",
        "channel": "csatorna", "day": "dátum",
    }  # fmt: skip
    assert not [note for note in draft.notes if note.startswith("orders such as")]  # all orders begin with R


def test_a_draft_names_the_columns_that_it_does_not_use(tmp_path: Path) -> None:
    file = tmp_path / "sales.csv"
    rows = [f"c{k % 9},2024-01-{1 + k % 28:02d},i{k % 7},{k}.5,{'xyz'[k % 3]}{k}" for k in range(40)]
    file.write_text("\n".join(["customer,date,item,amount,remark", *rows]))
    assert "not used: remark" in draft_source([str(file)]).notes


@pytest.mark.parametrize(("page", "text"), [(page, text) for page, texts in TEXTS.items() for text in texts])
def test_a_text_is_read_in_the_code_page_of_its_language(page: str, text: str) -> None:
    for each in (text, text.upper().replace("SS", "ß")):
        found = code_page(words_beyond_ascii([each.encode(page)]))
        assert found.other is None and each.encode(page).decode(found.page) == each


UNCLEAR = [  # bytes, and the readings that a refusal shows
    ("šaty".encode("iso8859_2"), "'ąaty' in cp1250 or 'šaty' in iso8859_2"),
    ("Győr".encode("cp1250"), "'Győr' in cp1250 or 'Gyõr' in cp1252"),
    ("牛奶, 面包, 奶酪".encode("gbk"), "neither UTF-8 nor in a code page whose letters are known"),
]


@pytest.mark.parametrize(("text", "words"), UNCLEAR, ids=[words[:12] for _, words in UNCLEAR])
def test_a_file_whose_code_page_is_unclear_is_refused_until_the_encoding_is_set(
    text: bytes, words: str, tmp_path: Path
) -> None:
    head = b"customer,date,item,amount\n"
    (tmp_path / "sales.csv").write_bytes(head + b"anna,2024-03-01," + text.replace(b",", b"") + b",2.5\n")
    columns = {"customer": "customer", "day": "date", "item": "item", "revenue": "amount"}
    with pytest.raises(DataError, match=words):
        prepare(Table("sales.csv", columns, folder=str(tmp_path)), tmp_path / "log")
    log = prepare(Table("sales.csv", columns, folder=str(tmp_path), encoding="iso8859_2"), tmp_path / "log")
    assert log.items["item"][0] == text.replace(b",", b"").decode("iso8859_2").strip()


def test_the_encoding_holds_for_tables_beside_the_events_that_are_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_bytes("item,name\nkošile,bílá košile\n".encode("iso8859_2"))
    columns = {"customer": "customer", "day": "date", "item": "item", "revenue": "amount"}
    settings: dict[str, Any] = {"folder": str(tmp_path), "items": "items.csv"}
    (tmp_path / "sales.csv").write_bytes("customer,date,item,amount\nanna,2024-03-01,košile,2.5\n".encode("iso8859_2"))
    log = prepare(Table("sales.csv", columns, **settings, encoding="iso8859_2"), tmp_path / "log")
    assert log.items["name"].to_list() == ["bílá košile"]


@pytest.mark.parametrize("text", ["2025.03.14.", "2025. 03. 14.", "2025.03.14. 10:30", "2025. 3. 14. 10:30:05"])
@pytest.mark.parametrize("zone", [None, "Europe/Budapest"])
def test_a_date_may_end_with_a_point(text: str, zone: str | None) -> None:
    frame = pl.DataFrame({"day": [text]})
    day = frame.select(read_day("day", frame.schema["day"], DayFormat(zone=zone))).item()
    assert str(day) == "2025-03-14"


@pytest.mark.parametrize("text", ["12 990 Ft", "12\u00a0990 Ft", "12990Ft", "12990 HUF", "12 990 Kč", "12990 lei"])
def test_signs_of_central_european_currencies_are_no_part_of_an_amount(text: str) -> None:
    assert pl.select(read_number(pl.lit(text), None)).item() == 12_990


def test_hungarian_charges_are_not_products_and_products_named_like_them_are() -> None:
    texts = pl.Series(
        ["Szállítási díj", "Házhozszállítás", "Üvegbetét", "Ajándékutalvány", "Szállítói bor", "Díszdoboz"]
    )
    matches = texts.to_frame("x").select(names_no_product(pl.col("x"), None)).to_series().to_list()
    assert matches == [True, True, True, True, False, False]
