"""Amounts and quantities as people write them: currency signs, decimal commas, thousands, brackets for minus."""

from __future__ import annotations

from typing import Literal

import polars as pl

WORDS = ("null", "nan", "none", "na", "n/a", "nil", "<na>", "#n/a", "nat")
BLANKS = ("", *WORDS, *map(str.upper, WORDS), *map(str.title, WORDS), "NaN", "NaT", "\\N", "-", "?")
EDGES = " \t\r\n\v\f\u00a0\u2007\u202f\u200b\u200c\u200d\u2060\ufeff"
SIGNS = {"€": "EUR", "£": "GBP", "R$": "BRL", "¥": "JPY", "₹": "INR", "zł": "PLN", "$": "USD"}
CODES = "EUR|USD|GBP|BRL|CHF|JPY|INR|PLN|SEK|NOK|DKK|CZK|TWD|NTD|CAD|AUD|CNY|TRY|RUB|KRW|MXN"
NOISE = rf"(?i)({CODES}|R\$|NT\$|zł|kr\.?|[€£¥₹$]|[\s\u00a0\u202f'’])"
AMOUNT = r"^[+-]?(\d[\d.,]*|[.,]\d+)(e[+-]?\d+)?$"


def clean_text(text: pl.Expr, form: Literal["NFC", "NFKC"] = "NFC") -> pl.Expr:
    """Text without white space and invisible characters at its edges, in one Unicode form; null where it says nothing.

    >>> pl.select(clean_text(pl.lit(" \\ufeffNULL "))).item() is None
    True
    """
    bare = text.cast(pl.String).str.strip_chars(EDGES).str.normalize(form)
    return pl.when(bare.is_in(BLANKS).not_()).then(bare)


def bare_number(text: pl.Expr) -> pl.Expr:
    """The digits of an amount with its sign and marks; brackets and a minus at the end mean less than zero."""
    digits = clean_text(text).str.replace_all(NOISE, "")
    digits = digits.str.replace(r"^\((.*)\)$", "-$1").str.replace(r"^([^-].*)-$", "-$1")
    return pl.when(digits.str.contains(AMOUNT)).then(digits)


def read_number(text: pl.Expr, decimal: str | None) -> pl.Expr:
    """A number from text, null for what is none.

    decimal: the mark of the column, "." or ",", where it is known. Without it, 1,234 could be either and is null.
    >>> pl.select(*(read_number(pl.lit(t), None).alias(t) for t in ("€ 1.234,50", "(3.5)", "1,234", "2,5"))).row(0)
    (1234.5, -3.5, None, 2.5)
    """
    digits = bare_number(text)
    commas, points = digits.str.count_matches(",", literal=True), digits.str.count_matches(".", literal=True)
    comma_last = digits.str.contains(r",[^.]*$") & (points > 0) & (commas == 1)
    thousand = digits.str.contains(r"^[+-]?[1-9]\d{0,2}(,\d{3})+$")
    thousand_points = digits.str.contains(r"^[+-]?[1-9]\d{0,2}(\.\d{3})+$")
    without_commas, with_point = digits.str.replace_all(",", ""), digits.str.replace_all(".", "", literal=True)
    european = with_point.str.replace(",", ".", literal=True)
    unclear = pl.lit(None, pl.String)
    one_mark = {",": european, ".": without_commas, None: pl.when(thousand & (commas == 1)).then(unclear)}
    chosen = (
        pl.when((commas == 0) & ((points > 1) | ((decimal == ",") & thousand_points)))
        .then(pl.when(thousand_points).then(with_point))
        .when(commas == 0)
        .then(digits)
        .when(comma_last)
        .then(european)
        .when((points > 0) | (commas > 1))
        .then(pl.when((points > 1) | ((points == 0) & thousand.not_())).then(unclear).otherwise(without_commas))
        .when(thousand.not_())
        .then(european)
        .otherwise(one_mark[decimal])
    )
    return chosen.cast(pl.Float64, strict=False)


def decimal_mark(text: pl.Expr) -> pl.Expr:
    """The decimal mark that a column itself gives away: "." or ",", null where it shows neither or both.

    >>> pl.DataFrame({"x": ["1,234", "2,5"]}).select(decimal_mark(pl.col("x"))).item()
    ','
    """
    digits = bare_number(text)
    comma = (digits.str.contains(r",(\d{1,2}|\d{4,})$") | digits.str.contains(r"\.\d{3},\d*$")).any()
    point = (digits.str.contains(r"\.(\d{1,2}|\d{4,})$") | digits.str.contains(r",\d{3}\.\d*$")).any()
    return pl.when(comma & ~point).then(pl.lit(",")).when(point & ~comma).then(pl.lit("."))


def currency_of(text: pl.Expr) -> pl.Expr:
    """The three letters of the currency that an amount is written in, null where it says none.

    >>> pl.select(currency_of(pl.lit("R$ 12,50")), usd=currency_of(pl.lit("12 usd"))).row(0)
    ('BRL', 'USD')
    """
    written = text.cast(pl.String).str.to_uppercase().str.extract(rf"\b({CODES})\b|\d({CODES})\b")
    signs = [pl.when(text.cast(pl.String).str.contains(s, literal=True)).then(pl.lit(c)) for s, c in SIGNS.items()]
    return pl.coalesce(written, *signs)
