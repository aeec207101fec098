"""A draft reads all tables together, knows names in ten languages, and runs as it is printed."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from propensity.config import conf_folder
from propensity.data.contact import sent_messages
from propensity.data.event_log import to_day
from propensity.data.registrant import registrants
from propensity.ingest.build import prepare
from propensity.ingest.source.mapping_draft import draft_mapping
from propensity.ingest.source.suggestion import draft_source, suggest, write_draft
from propensity.ingest.source.table_role import open_tables
from propensity.kernel.event import CART, VIEW

HEADS = {
    "German": "Kundennummer;Bestelldatum;Artikelnummer;Menge;Umsatz;Belegnummer",
    "French": "N° client;Date d'achat;Référence;Quantité;Montant;No commande",
    "Spanish": "ID cliente;Fecha;Código producto;Cantidad;Importe;Número pedido",
    "Italian": "Codice cliente;Data ordine;Codice articolo;Quantità;Importo;Numero ordine",
    "Dutch": "Klantnummer;Besteldatum;Artikelcode;Aantal;Bedrag;Bonnummer",
    "Polish": "Nr klienta;Data zakupu;Kod towaru;Ilość;Wartość;Numer paragonu",
    "Czech": "Číslo zákazníka;Datum nákupu;Kód zboží;Množství;Částka;Číslo objednávky",
    "Portuguese": "Código cliente;Data compra;Código produto;Quantidade;Valor;Número pedido",
    "Turkish": "Müşteri No;Sipariş Tarihi;Ürün Kodu;Miktar;Tutar;Fiş No",
    "English": "Customer ID;Order Date;Product ID;Qty;Sales;Invoice No",
}
ROWS = "".join(
    f"{k % 3};{k + 12}.03.2024;sku{k % 4};{k % 3 + 1};{(k % 3 + 1) * (k % 4 + 1)},50;b{k}\n" for k in range(12)
)


@pytest.mark.parametrize("language", HEADS)
def test_the_names_of_ten_languages_are_known(language: str, tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text(HEADS[language] + "\n" + ROWS)
    mapping = draft_mapping(open_tables([str(tmp_path / "sales.csv")])[0].rows)
    names = HEADS[language].split(";")
    assert [mapping.get(key) for key in ("customer", "day", "item", "quantity", "revenue", "order")] == names


def run(command: str) -> float:
    """The revenue of the log that a printed command prepares, without its comments."""
    text = "\n".join(line for line in command.splitlines() if not line.startswith("#"))
    words = [word for word in shlex.split(text.replace("\\\n", " ")) if "=" in word]
    overrides = [word for word in words if word.startswith("data")]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        cfg = compose("prepare", overrides=overrides)
    out = Path(cfg.data["source"]["events"]).parent / "log"
    return float(prepare(instantiate(cfg.data["source"], _convert_="all"), out).revenue.sum())


@pytest.mark.parametrize(
    "awkward", ["a b", "Preis, $", "it's", "x{y}: [z]", "null", "Größe", "1st", "back\\slash", "$y"]
)
def test_a_draft_runs_whatever_the_names_hold(awkward: str, tmp_path: Path) -> None:
    place = tmp_path / "a 'b' $c"
    place.mkdir()
    (place / "sales.csv").write_text(f"customer;{awkward} date;sku;{awkward} category;amount\n1;2024-03-01;x;k;2,5\n"
                                     "1;2024-03-02;x;k;2,5\n2;2024-03-02;y;l;3,5\n")  # fmt: skip
    assert run(suggest(str(place / "sales.csv"))) == 8.5


def test_tables_beside_the_events_get_their_roles(tmp_path: Path) -> None:
    files = {
        "lines.csv": "order_id,sku,qty,price\no1,x,1,2\no2,y,2,3\no3,x,1,2\n",
        "orders.csv": "order_id,customer_id,order_date\no1,a,2024-03-01\no2,b,2024-03-13\no3,a,2024-03-14\n",
        "goods.csv": "sku,category\nx,k\ny,l\n",
        "people.csv": "customer_id,age,city\na,30,Rome\nb,40,Oslo\n",
        "optin.csv": "customer_id,marketing,date\na,yes,2024-01-01\nb,no,2024-01-01\n",
        "mails.csv": "customer_id,date\na,2024-03-01\na,2024-03-05\nb,2024-03-05\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    draft = draft_source([str(tmp_path / "*.csv")])
    of = draft.settings
    assert Path(of["events"]).name == "lines.csv"
    assert [(Path(j["table"]).name, j["by"]) for j in of["joins"]] == [("orders.csv", "order_id")]
    assert Path(of["items"]).name == "goods.csv" and Path(of["customers"]).name == "people.csv"
    assert of["consents"]["consent"] == "marketing" and Path(of["contacts"]["path"]).name == "mails.csv"
    log = prepare(
        instantiate({"_target_": "propensity.ingest.source.table.Table", **of}, _convert_="all"), tmp_path / "log"
    )
    assert log.revenue.sum() == 7 and log.items["category"].to_list() == ["k", "l"]


def test_views_beside_the_sales_are_neither_items_nor_messages(tmp_path: Path) -> None:
    sales = "".join(f"{k},2024-03-{1 + k % 20:02d},c{k % 9},i{k % 5},2.5\n" for k in range(40))
    views = "".join(f"c{k % 9},2024-03-{1 + k % 20:02d},i{k % 5},view\n" for k in range(60))
    texts = {
        "sales.csv": "order_id,date,customer_id,sku,amount\n" + sales,
        "browsing.csv": "customer_id,date,sku,event\n" + views,
        "goods.csv": "sku,category\n" + "".join(f"i{k},k{k % 2}\n" for k in range(5)),
        "more_goods.csv": "sku,brand\n" + "".join(f"i{k},b{k % 2}\n" for k in range(5)),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    draft = draft_source([str(tmp_path / "*.csv")])
    assert Path(draft.settings["items"]).name == "goods.csv" and "contacts" not in draft.settings
    assert any("more_goods.csv" in note and "not used" in note for note in draft.notes)
    expected = {"path": str(tmp_path / "browsing.csv"), "customer": "customer_id", "day": "date", "item": "sku"}
    assert draft.settings["behaviour"] == expected | {"kind": "event"} and "kinds" not in draft.settings


@pytest.mark.parametrize(
    ("head", "words", "names"),
    [
        ("vevőkód;regisztráció;forrás;hírlevél", ("Megtekintés", "kosárba"), ("regisztráció", "forrás")),
        ("kundennummer;Kunde seit;Herkunft;Newsletter", ("angesehen", "in den Warenkorb"), ("Kunde seit", "Herkunft")),
        ("customer_id;signup_date;utm_source;optin", ("page_view", "add_to_cart"), ("signup_date", "utm_source")),
    ],
)
def test_a_draft_has_registrations_and_the_words_of_views_and_carts(
    head: str, words: tuple[str, str], names: tuple[str, str], tmp_path: Path
) -> None:
    key = head.split(";")[0]
    sales = "".join(f"{k};{1 + k % 20}.03.2024;c{k % 9};i{k % 5};2,5\n" for k in range(40))
    views = "".join(f"c{k % 14};{1 + k % 20}.03.2024;i{k % 5};{words[k % 2]}\n" for k in range(60))
    people = "".join(f"c{k};{10 + k % 9}.02.2024;{('web', 'shop')[k % 2]};{('yes', 'no')[k % 2]}\n" for k in range(16))
    (tmp_path / "sales.csv").write_text(f"order_id;date;{key};sku;amount\n{sales}")
    (tmp_path / "views.csv").write_text(f"{key};datum;sku;what\n{views}")
    (tmp_path / "people.csv").write_text(f"{head}\n{people}")
    draft = draft_source([str(tmp_path / "*.csv")])
    settings = {"_target_": "propensity.ingest.source.table.Table", **draft.settings}
    log = prepare(instantiate(settings, _convert_="all"), tmp_path / "log")
    assert draft.settings["acquisition"] == dict(zip(("day", "channel"), names, strict=True))
    assert draft.settings["consents"]["consent"] == head.split(";")[3] and "day" not in draft.settings["consents"]
    assert (log.kind == VIEW).sum() == 30 and log.engagement is not None
    assert (log.engagement.kind == CART).sum() == 30 and registrants(log, to_day("2024-04-01")).size == 16 - 9
    assert set(log.customers["acquired_channel"].to_list()) == {"web", "shop"}


def test_a_consent_with_a_date_of_entry_is_no_table_of_customers(tmp_path: Path) -> None:
    sales = "".join(f"{k};2024-03-{1 + k % 20:02d};c{k % 9};i{k % 5};2.5\n" for k in range(40))
    (tmp_path / "sales.csv").write_text(f"order_id;date;customer_id;sku;amount\n{sales}")
    (tmp_path / "optin.csv").write_text(
        "customer_id;optin;since\n" + "".join(f"c{k};yes;2024-01-0{k}\n" for k in range(1, 9))
    )
    settings = draft_source([str(tmp_path / "*.csv")]).settings
    assert "customers" not in settings and "acquisition" not in settings and settings["consents"]["consent"] == "optin"


@pytest.mark.parametrize(
    ("head", "names"),
    [
        ("customer_id,sent_at,campaign,offer,arm,probability,cost",
         ("campaign", "offer", "arm", "probability", "cost")),
        ("Kunde,Datum,Kampagne,Angebot,Testgruppe,Wahrscheinlichkeit,Kosten",
         ("Kampagne", "Angebot", "Testgruppe", "Wahrscheinlichkeit", "Kosten")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("often", [1, 2], ids=["one message each", "several messages"])
def test_a_draft_of_contacts_has_what_was_sent_and_at_what_cost(
    head: str, names: tuple[str, ...], often: int, tmp_path: Path
) -> None:
    sales = "".join(f"c{k % 9},2024-03-{1 + k % 20:02d},i{k % 3},2.5\n" for k in range(40))
    (tmp_path / "sales.csv").write_text("customer_id,date,sku,amount\n" + sales)
    sent = "".join(
        f"c{k},2024-03-0{1 + j},spring,o{k % 2},{'AB'[k % 2]},0.5,0.08\n" for k in range(9) for j in range(often)
    )
    (tmp_path / "mails.csv").write_text(f"{head}\n{sent}")
    draft = draft_source([str(tmp_path / "*.csv")])
    kinds = ("campaign", "offer", "arm", "probability", "cost")
    columns = draft.settings["contacts"]
    assert {kind: columns[kind] for kind in kinds} == dict(zip(kinds, names, strict=True))
    source = instantiate({"_target_": "propensity.ingest.source.table.Table", **draft.settings}, _convert_="all")
    messages = sent_messages(prepare(source, tmp_path / "log"))
    assert messages.height == 9 * often and set(messages["probability"].to_list()) == {0.5}


def test_a_draft_is_written_once_under_each_content(tmp_path: Path) -> None:
    (tmp_path / "Sales 2024.csv").write_text("customer,date,sku,amount\n1,2024-03-01,x,2\n2,2024-03-01,y,2\n")
    draft = draft_source([str(tmp_path / "Sales 2024.csv")])
    file = write_draft(draft, tmp_path / "conf")
    assert file == tmp_path / "conf/data/source/sales_2024.yaml" == write_draft(draft, tmp_path / "conf")
    file.write_text("# mine\n")
    assert write_draft(draft, tmp_path / "conf").name == "sales_2024_2.yaml" and file.read_text() == "# mine\n"
    command = suggest(str(tmp_path / "Sales 2024.csv"), tmp_path / "conf").splitlines()[-1]
    assert command == "propensity prepare data/source=sales_2024_2 out=data/sales_2024_2 check=true"


@pytest.mark.parametrize(
    ("head", "row", "words"),
    [
        ("price", lambda k: f"{1.5}", "price does not grow with qty"),
        ("price", lambda k: f"{1.5 * k}", "price grows with qty"),
    ],
)
def test_prices_of_one_unit_are_told_from_totals_by_arithmetic(
    head: str, row: object, words: str, tmp_path: Path
) -> None:
    assert callable(row)
    lines = "".join(f"a,2024-03-01,i{i},{k},{row(k)}\n" for i in range(6) for k in (1, 2, 5))
    (tmp_path / "sales.csv").write_text(f"card,date,sku,qty,{head}\n{lines}")
    assert words in suggest(str(tmp_path / "sales.csv"))


def test_a_price_that_may_be_either_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text("card,date,sku,qty,Price\na,2024-03-01,x,1,2\nb,2024-03-01,y,3,5\n")
    assert "Price: it cannot be told whether it is the line's total or the price of one unit" in suggest(
        str(tmp_path / "sales.csv")
    )


def test_a_total_in_decimal_commas_shows_the_price_of_one_unit(tmp_path: Path) -> None:
    lines = "".join(f"a;2024-03-01;i{k};{k};{k},50;{k * (k + 0.5):.2f}\n".replace(".", ",") for k in range(2, 9))
    (tmp_path / "sales.csv").write_text(f"Kunde;Datum;Artikel;Menge;Einzelpreis;Zeilenwert\n{lines}")
    draft = draft_source([str(tmp_path / "sales.csv")])
    assert draft.settings["revenue_is"] == "unit"
    assert any(note.startswith("Zeilenwert is Menge x Einzelpreis") for note in draft.notes)


def test_a_polish_draft_keeps_guests_by_the_number_of_the_document_and_offers_the_group(tmp_path: Path) -> None:
    lines = "".join(
        f"2024-03-{1 + k % 20:02d} 10:00;Z{k};{'' if k % 10 == 0 else k % 9};t{k % 30};towar {k % 30};"
        f"grupa {k % 30 % 4};1;1 234,50\n"
        for k in range(90)
    )
    head = "Data i godzina;Nr dokumentu;Nr karty klienta;Kod towaru;Nazwa towaru;Grupa towarowa;Ilość;Wartość brutto\n"
    (tmp_path / "sprzedaz.csv").write_text(head + lines)
    draft = draft_source([str(tmp_path / "sprzedaz.csv")])
    assert draft.settings["columns"]["order"] == "Nr dokumentu"
    assert any(note.startswith("offers: Grupa towarowa has 4 values") for note in draft.notes)
    assert {"what": "thousands mark", "value": ". or a space"}.items() <= next(
        each for each in draft.formats if each["what"] == "thousands mark"
    ).items()
