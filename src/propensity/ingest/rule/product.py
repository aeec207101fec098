"""Lines that are not products: postage, discounts, fees, manual entries and the like, by code and by description."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import polars as pl

DEFAULT = "default"  # entry of `data.source.not_products` for the words below
CODES = ("post", "dot", "dotcom", "amazonfee", "cruk", "pads", "pos", "frt", "shp")
WORDS = {  # a text that holds one of these, and otherwise only words of FILLERS, is not a product
    "en": "postage|shipping|delivery|freight|carriage|handling|fees?|charges?|surcharge|commission|discounts?|vouchers?"
    "|coupons?|rebate|manual|adjust|adjustments?|correction|bad debts?|debts?|write off|rounding|deposits?|tips?"
    "|gratuity|donations?|tests?|samples?|gift ?wrap|gift ?wrapping|gift cards?|giftcards?|store credit|refund|cruk",
    "de": "versand|versandkosten|versandgebühr|porto|lieferung|lieferkosten|fracht|frachtkosten|gebühr|gebühren"
    "|bearbeitungsgebühr|bankgebühren|mahngebühr|nachnahme|nachnahmegebühr|verpackungskosten|rabatt|nachlass|skonto"
    "|gutschein|geschenkgutschein|wertgutschein|geschenkkarte|gutschrift|pfand|einwegpfand|mehrwegpfand|leergut|kaution"
    "|trinkgeld|spende|warenprobe|muster|rundung|rundungsdifferenz|korrektur|zuschlag|testartikel|forderungsausfall"
    "|manuell|tankpfand|aufschlag",
    "fr": "frais|frais de port|livraison|expédition|remise|réduction|rabais|bon d.achat|bon de réduction|chèque cadeau"
    "|carte cadeau|avoir|consigne|caution|pourboire|don|échantillons?|arrondi|ajustement|supplément|manuel|acompte"
    "|créance irrécouvrable",
    "es": "envío|gastos de envío|portes|descuento|rebaja|cupón|vale|tarjeta regalo|cheque regalo|fianza|depósito"
    "|propina|donación|muestras?|redondeo|ajuste|comisión|comisiones bancarias|recargo|prueba|deuda incobrable",
    "it": "spedizione|spese di spedizione|spese|sconto|buono|buono sconto|buono regalo|carta regalo|cauzione|mancia"
    "|donazione|campioni|campione omaggio|arrotondamento|rettifica|commissione|commissioni|supplemento"
    "|articolo di prova",
    "nl": "verzending|verzendkosten|bezorging|bezorgkosten|portokosten|vracht|korting|kortingsbon|cadeaubon|waardebon"
    "|cadeaukaart|statiegeld|borg|fooi|donatie|proefmonster|afronding|correctie|toeslag|administratiekosten|bankkosten",
    "pl": "wysyłka|koszt wysyłki|koszty wysyłki|dostawa|koszt dostawy|przesyłka|rabat|zniżka|kupon|bon podarunkowy"
    "|karta podarunkowa|kaucja|napiwek|darowizna|próbka|próbki|zaokrąglenie|korekta|opłata|prowizja|dopłata",
    "cs": "doprava|dopravné|poštovné|balné|dobírka|sleva|poukaz|dárkový poukaz|slevový kupon|kupón|vratná záloha|záloha"
    "|spropitné|vzorek|vzorky|zaokrouhlení|oprava|poplatek|poplatky|příplatek|testovací položka",
    "pt": "frete|envio|custo de envio|entrega|desconto|cupom|cupão|vale presente|vale oferta|cartão presente|caução"
    "|depósito|gorjeta|doação|amostras?|arredondamento|taxa|taxas|comissão|sobretaxa|teste",
    "tr": "kargo|kargo ücreti|nakliye|teslimat|indirim|kupon|hediye kartı|hediye çeki|depozito|bahşiş|bağış|numune"
    "|yuvarlama|düzeltme|komisyon|ek ücret|hizmet bedeli",
    "hu": "szállítás|szállítási|kiszállítás|kiszállítási|házhozszállítás|postaköltség|postadíj|csomagolási|kezelési"
    "|utánvét|utánvételi|fuvardíj|kedvezmény|engedmény|kupon|utalvány|ajándékutalvány|ajándékkártya|betétdíj|üvegbetét"
    "|üvegbetétdíj|kaució|borravaló|adomány|termékminta|áruminta|kerekítés|korrekció|felár|pótdíj|jutalék",
}
FILLERS = (
    "a|an|and|the|of|for|by|on|in|to|is|this|per|via|p&p|pp|no|free|cost|costs|standard|express|economy|next|same|day"
    "|international|domestic|uk|eu|us|bank|card|credit|debit|payment|service|processing|order|item|items|misc"
    "|miscellaneous|product|products|products?|gift|promo|promotion|promotional|loyalty|staff|customer|amazon|dotcom"
    "|dhl|ups|dpd|gls|fedex|usps|tnt|hermes|paypal|stripe|fuel|bottle|entry|line|other|bad|extra|import|duty|duties|environmental"
    "|recycling|store|manufacturer|mfg"
    "|und|für|der|die|das|von|pro|kosten|artikel|kunde|bestellung|kraftstoff|flaschen|kostenlos|kostenlose|gratis|pauschal"
    "|et|de|du|des|d|la|le|les|l|pour|sur|port|transport|bancaires?|bancaire|produit|article|commande|gratuits?|gratuite"
    "|y|el|los|las|para|gastos|bancarios|producto|pedido|e|di|del|della|per|il|lo|bancarie|omaggio|ordine|articolo|prodotto"
    "|van|voor|het|een|kosten|na|za|do|koszt|koszty|bankowa|bankovní|produkt|o|a|os|as|do|da|dos|das|bancárias?|produto"
    "|pedido|ve|ücreti|bedeli|banka|ürün|sipariş|a|az|és|díj|díja|költség|költsége|ingyenes|rendelés|termék|vásárlási"
)
FUELS = (  # a text that holds one of these, and otherwise only words of FILLERS, is about fuel
    "fuel|fuels|gas|gasoline|petrol|diesel|unleaded|gas reg unleaded|gasoline reg unleaded|gas premium|lpg|autogas"
    "|kraftstoff|kraftstoffe|benzin|superbenzin|treibstoff|carburant|carburants|essence|gazole|sans plomb|combustible"
    "|combustibles|gasolina|gasóleo|carburante|carburanti|benzina|gasolio|brandstof|benzine|paliwo|paliwa|benzyna"
    "|olej napędowy|palivo|paliva|nafta|combustível|combustíveis|akaryakıt|yakıt|motorin|üzemanyag|gázolaj|motorbenzin"
)
DESCRIBES = (  # names of columns that describe an item in words
    r"(?i)desc|(^|[^a-z])name$|^name|title|label|bezeichnung|benennung|artikelname|artikeltext|libell|designation"
    r"|désignation|nombre|denominaz|omschrijving|naam|nazwa|opis|název|popis|nome|titulo|título|tanım|açıklama|urun_ad|megnevez|leírás|leiras|terméknév|termek_?nev|cikkn[eé]v"
    r"|ürün ad"
)


def plain_letters(text: str) -> str:
    """Remove the accents of a text.

    Parameters
    ----------
    text : str
        Text.

    Returns
    -------
    str
        The same text in letters without accents.

    Examples
    --------
    >>> plain_letters("poštovné"), plain_letters("koszt wysyłki")
    ('postovne', 'koszt wysyłki')
    """
    return "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))


def _alternatives(words: str) -> str:
    """Words with and without their accents."""
    listed = [each for word in words.split("|") for each in (word, plain_letters(word))]
    longest_first = dict.fromkeys(sorted(listed, key=len, reverse=True))
    return "|".join(word.replace(" ?", r"[\s_-]?").replace(" ", r"[\s_-]+") for word in longest_first)


OTHER = rf"(?:{_alternatives(FILLERS)}|[\d.,:%€£$/]+)"
GAP = r"[\s_\-/.,:;()!*+&']+"


def _whole_text(words: str) -> str:
    """Pattern of texts that hold one of the words, and otherwise only such words and those of FILLERS."""
    noun = rf"(?:{_alternatives(words)})"
    return rf"^(?:{GAP})?(?:(?:{noun}|{OTHER}){GAP})*{noun}(?:[_\s-]?\d+)?(?:{GAP}(?:{noun}|{OTHER}))*(?:{GAP})?$"


NOT_A_PRODUCT = _whole_text("|".join(WORDS.values())) + r"|^gift_\d+_\d+$|^(?:\w+ )?adjustment by \w+ on "
FUEL = _whole_text(FUELS)


def names_no_product(text: pl.Expr, names: Sequence[str] | None) -> pl.Expr:
    """Build an expression that finds codes or descriptions of lines that are not products.

    Parameters
    ----------
    text : polars.Expr
        Item codes or descriptions.
    names : sequence of str or None
        The texts that are not products, ignoring case; `default` stands for the built-in words. None for these.

    Returns
    -------
    polars.Expr
        False for null.

    Notes
    -----
    The built-in words match whole texts: each word of the text belongs to the list or is a filler such as "next day".
    "Next Day Carriage" is not a product, "Pregnancy Test" and "Postage Stamp Album" are.

    Examples
    --------
    >>> texts = pl.Series(["Next Day Carriage", "Pregnancy Test", "Versandkosten DHL", "Poštovné"])
    >>> texts.to_frame("x").select(names_no_product(pl.col("x"), None)).to_series().to_list()
    [True, False, True, True]
    """
    lower = text.cast(pl.String).str.to_lowercase().str.strip_chars()
    listed = [str(name).lower() for name in ((DEFAULT,) if names is None else names)]
    exact = [name for name in listed if name != DEFAULT]
    if DEFAULT not in listed:
        return lower.is_in(exact).fill_null(False)
    return (lower.is_in([*exact, *CODES]) | lower.str.contains(NOT_A_PRODUCT)).fill_null(False)


def names_fuel(text: pl.Expr) -> pl.Expr:
    """Build an expression that finds descriptions of fuel, which a retailer sells and cannot advertise as a product.

    Parameters
    ----------
    text : polars.Expr
        Item codes or descriptions.

    Returns
    -------
    polars.Expr
        False for null.

    Examples
    --------
    >>> texts = pl.Series(["FUEL", "Benzin", "Carburants", "Fuel filter", "Gas grill"])
    >>> texts.to_frame("x").select(names_fuel(pl.col("x"))).to_series().to_list()
    [True, True, True, False, False]
    """
    return text.cast(pl.String).str.to_lowercase().str.strip_chars().str.contains(FUEL).fill_null(False)


def describes_items(column: str) -> bool:
    """Tell whether the name of a column is that of a description of items.

    Parameters
    ----------
    column : str
        Name of the column.

    Returns
    -------
    bool
        True for names such as Description, Lineitem name or Bezeichnung.

    Examples
    --------
    >>> [describes_items(name) for name in ("Description", "Lineitem name", "Bezeichnung", "category")]
    [True, True, True, False]
    """
    return re.search(DESCRIBES, column) is not None
