"""Reading of amounts: currency signs, decimal commas, thousands separators, parentheses for negative amounts."""

from __future__ import annotations

from typing import Literal, NamedTuple

import polars as pl

from propensity.ingest.rule.distinct import by_distinct, computed

WORDS = ("null", "nan", "none", "na", "n/a", "nil", "<na>", "#n/a", "nat")
ERRORS = ("#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!")  # of a spreadsheet
BLANKS = ("", *ERRORS, *WORDS, *map(str.upper, WORDS), *map(str.title, WORDS), "NaN", "NaT", "\\N", "-", "?")
EDGES = " \t\r\n\v\f\u00a0\u2007\u202f\u200b\u200c\u200d\u2060\ufeff"
SIGNS = {
    "€": "EUR", "£": "GBP", "R$": "BRL", "US$": "USD", "A$": "AUD", "CA$": "CAD", "C$": "CAD", "NZ$": "NZD",
    "HK$": "HKD", "MX$": "MXN", "NT$": "TWD", "S$": "SGD", "¥": "JPY", "₹": "INR", "zł": "PLN", "Ft": "HUF",
    "Kč": "CZK", "lei": "RON", "₽": "RUB", "₺": "TRY", "₴": "UAH", "₪": "ILS", "₩": "KRW", "฿": "THB", "₫": "VND",
    "₱": "PHP", "лв": "BGN", "$": "USD",
}  # fmt: skip
CODES = (
    "EUR|USD|GBP|BRL|CHF|JPY|INR|PLN|SEK|NOK|DKK|CZK|TWD|NTD|CAD|AUD|CNY|TRY|RUB|KRW|MXN|HUF|RON|BGN|UAH|ILS|THB|VND"
    "|PHP|ZAR|SGD|HKD|NZD|MYR|IDR|CLP|COP|ARS|PEN|UYU|AED|SAR|KWD|EGP|MAD|ISK|RSD"
)
NOISE = (
    rf"(?i)({CODES}|(?:US|AU?|CA?|NZ|HK|MX|NT|R|S)\$|zł|Ft\b|Kč|lei\b|kr\.?|лв\.?|руб\.?|TL\b|[€£¥₹$₽₺₴₪₩฿₫₱]"
    r"|[\s\u00a0\u202f'’])"
)
NO_CENTS = r"(\d)[.,][-–—]{1,2}$"  # such as 12,- or 12.--
COMMA_DECIMAL = r"^[+-]?(?:\d*,(?:\d{1,2}|\d{4,})|(?:0|\d{4,}),\d{3}|\d{1,3}(?:\.\d{3})+,\d*|\d{1,3}(?:\.\d{3}){2,})$"
POINT_DECIMAL = (
    r"^[+-]?(?:\d*\.(?:\d{1,2}|\d{4,})(?:e[+-]?\d+)?|(?:0|\d{4,})\.\d{3}"
    r"|\d{1,3}(?:,\d{3})+\.\d*|\d{1,3}(?:,\d{3}){2,})$"
)
UNCLEAR = r"^[+-]?[1-9]\d{0,2}[.,]\d{3}$"
MARKS = ("commas", "points", "unclear")  # codes of `_mark`
MAX_ODD_SHARE = 0.05  # share of cells that may contradict the others
SIMPLE = r"^[+-]?(?:\d[\d.,]*|[.,]\d+)$"  # an amount without signs
AMOUNT = r"^[+-]?(\d[\d.,]*|[.,]\d+)(e[+-]?\d+)?$"


def clean_text(text: pl.Expr, form: Literal["NFC", "NFKC"] = "NFC") -> pl.Expr:
    """Build an expression that strips white space and invisible characters and normalises Unicode.

    Parameters
    ----------
    text : polars.Expr
        Values of any type.
    form : str
        Unicode normal form.

    Returns
    -------
    polars.Expr
        Text, null for blanks and for words such as NULL or n/a.

    Examples
    --------
    >>> pl.select(clean_text(pl.lit(" \\ufeffNULL "))).item() is None
    True
    """
    bare = text.cast(pl.String).str.strip_chars(EDGES).str.normalize(form)
    return pl.when(bare.is_in(BLANKS).not_()).then(bare)


def bare_number(text: pl.Expr) -> pl.Expr:
    """Build an expression that removes everything but sign, digits and separators from an amount.

    Parameters
    ----------
    text : polars.Expr
        Text.

    Returns
    -------
    polars.Expr
        Digits with sign and separators, null if it is not an amount. Parentheses and a trailing minus mean negative.
    """
    return text.cast(pl.String).map_batches(_bare, return_dtype=pl.String(), is_elementwise=True)


def _bare(values: pl.Series) -> pl.Series:
    """Amounts without signs; most have none."""
    odd = values.str.contains(SIMPLE).not_().fill_null(False)
    if not odd.any():
        return values
    return values.scatter(odd.arg_true(), computed(values.filter(odd), _without_signs, pl.String()))


def _without_signs(text: pl.Expr) -> pl.Expr:
    """Implementation of `bare_number` for any text."""
    digits = clean_text(text).str.replace_all(NOISE, "").str.replace(NO_CENTS, "$1").str.replace_all("[−–]", "-")
    digits = digits.str.replace(r"^\((.*)\)$", "-$1").str.replace(r"^([^-].*)-$", "-$1")
    return pl.when(digits.str.contains(AMOUNT)).then(digits)


def read_number(text: pl.Expr, decimal: str | None) -> pl.Expr:
    """Build an expression that reads numbers.

    Parameters
    ----------
    text : polars.Expr
        Text.
    decimal : str or None
        Decimal separator of the column, "." or ",", if it is known. Without it 1,234 and 1.234 are ambiguous.

    Returns
    -------
    polars.Expr
        Numbers, null for other text and ambiguous amounts.

    Examples
    --------
    >>> pl.select(*(read_number(pl.lit(t), None).alias(t) for t in ("€ 1.234,50", "(3.5)", "1.234", "2,5"))).row(0)
    (1234.5, -3.5, None, 2.5)
    """
    return by_distinct(text.cast(pl.String), lambda each: _number(each, decimal), pl.Float64())


def _number(text: pl.Expr, decimal: str | None) -> pl.Expr:
    """Implementation of `read_number`."""
    digits = bare_number(text)
    commas, points = digits.str.count_matches(",", literal=True), digits.str.count_matches(".", literal=True)
    comma_last = digits.str.contains(r",[^.]*$") & (points > 0) & (commas == 1)
    thousand = digits.str.contains(r"^[+-]?[1-9]\d{0,2}(,\d{3})+$")
    thousand_points = digits.str.contains(r"^[+-]?[1-9]\d{0,2}(\.\d{3})+$")
    without_commas, with_point = digits.str.replace_all(",", ""), digits.str.replace_all(".", "", literal=True)
    european = with_point.str.replace(",", ".", literal=True)
    ambiguous = pl.lit(None, pl.String)
    one_mark = {",": european, ".": without_commas, None: pl.when(thousand & (commas == 1)).then(ambiguous)}
    normalised = (
        pl.when((commas == 0) & ((points > 1) | ((pl.lit(decimal == ",")) & thousand_points)))
        .then(pl.when(thousand_points).then(with_point))
        .when((commas == 0) & (points == 1) & thousand_points & pl.lit(decimal is None))
        .then(ambiguous)
        .when(commas == 0)
        .then(digits)
        .when(comma_last)
        .then(european)
        .when((points > 0) | (commas > 1))
        .then(pl.when((points > 1) | ((points == 0) & thousand.not_())).then(ambiguous).otherwise(without_commas))
        .when(thousand.not_())
        .then(european)
        .otherwise(one_mark[decimal])
    )
    return normalised.cast(pl.Float64, strict=False)


class MarkEvidence(NamedTuple):
    """Number of amounts of a column that show its decimal separator, and of those that depend on it."""

    commas: int  # such as 2,5 or 1.234,50 or 1.299.990
    points: int  # such as 2.5 or 1,234.50 or 1,299,990
    unclear: int  # 1,234 or 1.234

    def mark(self) -> str | None:
        """Return the separator that nearly all amounts show, if any."""
        total = self.commas + self.points
        if not total or min(self.commas, self.points) > MAX_ODD_SHARE * total:
            return None
        return "," if self.commas > self.points else "."


def mark_evidence(text: pl.Expr) -> pl.Expr:
    """Build an expression that counts the evidence for the decimal separator of a column.

    Parameters
    ----------
    text : polars.Expr
        Text column.

    Returns
    -------
    polars.Expr
        One struct with the fields of `MarkEvidence`.

    Notes
    -----
    One separator twice, as in 1.299.990, groups thousands, so the other marks decimals. One separator before other than
    three digits, or after a zero or more than three digits, marks decimals.

    Examples
    --------
    >>> counts = pl.DataFrame({"x": ["1,234", "2,5", "1.299.990"]}).select(mark_evidence(pl.col("x"))).item()
    >>> MarkEvidence(**counts), MarkEvidence(**counts).mark()
    (MarkEvidence(commas=2, points=0, unclear=1), ',')
    """
    marks = by_distinct(text.cast(pl.String), _mark, pl.Int8())
    return pl.struct((marks == code).sum().cast(pl.Int64).alias(name) for code, name in enumerate(MARKS, 1))


def _mark(text: pl.Expr) -> pl.Expr:
    """What an amount shows of its decimal separator."""
    digits = bare_number(text)
    return (
        pl.when(digits.str.contains(COMMA_DECIMAL)).then(1)
        .when(digits.str.contains(POINT_DECIMAL)).then(2)
        .when(digits.str.contains(UNCLEAR)).then(3)
    )  # fmt: skip


def currency_of(text: pl.Expr) -> pl.Expr:
    """Build an expression that reads the currency of an amount.

    Parameters
    ----------
    text : polars.Expr
        Text.

    Returns
    -------
    polars.Expr
        Three-letter code, null without one.

    Examples
    --------
    >>> pl.select(currency_of(pl.lit("R$ 12,50")), usd=currency_of(pl.lit("12 usd"))).row(0)
    ('BRL', 'USD')
    """
    return text.cast(pl.String).map_batches(_currencies, return_dtype=pl.String(), is_elementwise=True)


def _currencies(values: pl.Series) -> pl.Series:
    """Currencies of amounts; plain numbers have none."""
    odd = values.str.contains(SIMPLE).not_().fill_null(False)
    nothing = pl.Series(values.name, [None], pl.String).new_from_index(0, values.len())
    return (
        nothing.scatter(odd.arg_true(), computed(values.filter(odd), _currency, pl.String())) if odd.any() else nothing
    )


def _currency(text: pl.Expr) -> pl.Expr:
    """Implementation of `currency_of`."""
    written = text.str.to_uppercase().str.extract(rf"\b({CODES})\b|\d({CODES})\b")
    signs = [pl.when(text.str.contains(sign, literal=True)).then(pl.lit(code)) for sign, code in SIGNS.items()]
    return pl.coalesce(written, *signs)
