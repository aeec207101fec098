"""Code page of a text file that is neither UTF-8 nor UTF-16, by the letters of its words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from math import log, sqrt
from typing import NamedTuple
from unicodedata import normalize

WESTERN = "cp1252"
LANGUAGES = {  # letters beside a to z, with their frequencies relative to each other
    "german": "ä 5.8 ö 4.4 ü 10 ß 3.1",
    "french": "é 19 à 4.9 è 2.7 ê 2.2 ç 0.9 ô 0.2 î 0.5 û 0.6 â 0.5 ù 0.6 ë 0.1 ï 0.1 œ 0.2 ü 0.1 ÿ 0.01",
    "spanish": "á 5 é 4.3 í 7.3 ó 8.3 ú 1.7 ñ 3.1 ü 0.1",
    "portuguese": "ã 7.3 ç 5.3 é 3.4 ê 4.5 ó 3 á 1.2 í 1.3 â 1.5 ú 2.1 õ 0.4 à 0.7 ô 0.5 ü 0.1",
    "italian": "à 6.4 è 2.6 é 0.5 ì 0.3 ò 1 ù 1.7 ó 0.1 í 0.1 î 0.1",
    "dutch": "ë 0.4 é 0.5 ï 0.1 ö 0.1 ü 0.1 è 0.1 á 0.1 ó 0.1 ê 0.1 ç 0.1",
    "nordic": "å 13 ä 18 ö 13 æ 8.7 ø 9.4 é 0.3 ü 0.1",
    "icelandic": "á 18 ð 44 é 6.5 í 15.7 ó 9.9 ú 6.1 ý 2.3 þ 14.5 æ 8.7 ö 7.8",
    "estonian": "ä 17 õ 12 ö 2 ü 6 š 0.1 ž 0.1",
    "polish": "ą 7 ć 7.4 ę 10.4 ł 21 ń 3.6 ó 11.4 ś 8.1 ź 0.8 ż 7.1",
    "czech": "á 8.7 č 4.6 ď 0.2 é 6.3 ě 12.2 í 16.4 ň 0.1 ó 0.2 ř 3.8 š 6.9 ť 0.1 ú 0.5 ů 2 ý 10 ž 7.2",
    "slovak": "á 18 ä 1 č 10 ď 1.5 é 8 í 10 ĺ 0.2 ľ 4 ň 1.5 ó 1 ô 2 ŕ 0.2 š 8 ť 6 ú 8 ý 9 ž 9",
    "hungarian": "á 34 é 38 í 6.5 ó 9.6 ö 8.2 ő 8.8 ú 3 ü 6.5 ű 1.3",
    "romanian": "ă 24 â 9.1 î 14 ş 15 ţ 10",
    "croatian": "č 9 ć 6 đ 3 š 10 ž 6",
    "turkish": "ç 11.6 ğ 11.3 ı 51 ö 7.8 ş 17.8 ü 18.5 â 0.2 î 0.1 û 0.1",
    "lithuanian": "ą 8 č 4 ę 2 ė 15 į 5 š 13 ų 14 ū 4 ž 8",
    "latvian": "ā 45 č 1 ē 20 ģ 1 ī 20 ķ 1 ļ 3 ņ 4 š 10 ū 5 ž 2",
    "russian": "о 110 е 85 а 80 и 74 н 67 т 63 с 55 р 47 в 45 л 44 к 35 м 32 д 30 п 28 у 26 я 20 ы 19 ь 17 г 17"
    " з 16 б 16 ч 14 й 12 х 10 ж 9 ш 7 ю 6 ц 5 щ 4 э 3 ф 3 ъ 1 ё 1 і 1 ї 1 є 1 ґ 0.1 ў 0.1",
    "greek": "α 120 ο 98 ι 80 ε 80 τ 80 σ 50 ν 62 η 46 υ 42 ρ 43 π 39 κ 41 μ 34 λ 29 ς 40 ω 16 γ 18 δ 18 θ 12"
    " χ 11 φ 8 β 8 ξ 5 ζ 5 ψ 2 ά 25 έ 20 ή 17 ί 30 ό 30 ύ 15 ώ 10 ϊ 1 ϋ 1",
}  # fmt: skip
SPOKEN = {  # how usual a language is among the files of shops
    "german": 3, "french": 3, "spanish": 3, "portuguese": 2, "italian": 2, "nordic": 1.5, "dutch": 1, "polish": 1,
    "turkish": 1, "russian": 1, "czech": 0.7, "hungarian": 0.7, "romanian": 0.5, "greek": 0.4, "croatian": 0.4,
    "slovak": 0.3, "lithuanian": 0.1, "latvian": 0.1, "icelandic": 0.05, "estonian": 0.05,
}  # fmt: skip
WEST = ("german", "french", "spanish", "portuguese", "italian", "dutch", "nordic", "icelandic", "estonian")
CENTRAL = ("polish", "czech", "slovak", "hungarian", "romanian", "croatian", "german")
BALTIC = ("lithuanian", "latvian", "estonian")
PAGES: dict[str, tuple[tuple[str, ...], float]] = {  # languages, and how usual the page is for them
    WESTERN: (WEST, 1.0),
    "cp1250": (CENTRAL, 1.0),
    "iso8859_2": (CENTRAL, 0.5),
    "cp1254": (("turkish",), 1.0),
    "cp1257": (BALTIC, 0.3),
    "cp1251": (("russian",), 1.0),
    "cp1253": (("greek",), 1.0),
    "iso8859_15": (WEST, 0.3),
    "iso8859_7": (("greek",), 0.01),
    "koi8_r": (("russian",), 0.01),
    "cp866": (("russian",), 0.01),
    "cp852": (CENTRAL, 0.01),
    "cp850": (WEST, 0.01),
    "mac_roman": (WEST, 0.01),
    "mac_latin2": (CENTRAL, 0.01),
}
WORD = rb"[A-Za-z\x80-\xff]*[\x80-\xff][A-Za-z\x80-\xff]*"
MOST_WORDS = 3_000  # distinct words that are compared
UNITS = (
    r"(?i)^(?:[cdkm]?m|ft|in)[²³]$|^n[°º]$|^°[cf]$|^µ[mgl]$|^[²³°ºª¹½¼¾·•™®©€£¥§±×–—‘’“”„…´¨]+$"  # as read in cp1252
)
SIGNS = {*"°ºª²³½¼®™©’‘´·µ"}  # signs that stand in words
JOINING = {*"’‘´·"}
SIGN, UNKNOWN, MISPLACED, CLUSTERED = 0.005, 1e-5, 0.005, 0.1
OWN_SHARE = 0.98  # share of the letters of the text's language; the others are those of any language of the page
MIN_EXPLAINED = 0.9  # share of the letters and signs that are known
CLEAR = log(5)  # by which the logarithm of a likelihood must exceed that of another reading, for one letter
CLEAR_EACH = 0.5  # further, times the square root of the number of further letters, because frequencies are rough


class Reading(NamedTuple):
    """A text as it is read in a code page."""

    page: str
    likelihood: float  # logarithm
    explained: float  # share of the letters that belong to the languages of the page


class CodePage(NamedTuple):
    """Code page of a text, and what speaks against it."""

    page: str
    other: str | None = None  # another page that is about as likely
    words: tuple[str, ...] = ()  # a word as it is read in both, or in the first if no page is likely
    known: bool = True


def words_beyond_ascii(chunks: Iterable[bytes]) -> set[bytes]:
    """Collect distinct words that are not ASCII.

    Parameters
    ----------
    chunks : iterable of bytes
        The text.

    Returns
    -------
    set of bytes
        At most `MOST_WORDS` words.
    """
    words: set[bytes] = set()
    for chunk in chunks:
        words.update(re.findall(WORD, chunk)[: 100 * MOST_WORDS])
        if len(words) >= MOST_WORDS:
            return {*sorted(words)[:MOST_WORDS]}
    return words


def code_page(words: Iterable[bytes]) -> CodePage:
    """Choose the code page of a text.

    Parameters
    ----------
    words : iterable of bytes
        Distinct words with a byte beyond ASCII.

    Returns
    -------
    CodePage
        The page in which the letters are those of one of its languages; Windows-1252 where every page reads the same.

    Notes
    -----
    The likelihood of a reading is the product of the frequencies of its letters beyond ASCII in the language of the
    page that fits best. A capital within a word, and a letter beside one of another script, count as misplaced. Pages
    that read all words alike are one reading.

    Examples
    --------
    >>> texts = {"gyümölcs, hűvös": "cp1250", "źródło, gęś": "iso8859_2", "Müşteri, ağaç": "cp1254", "Größe": "cp1252"}
    >>> [code_page(words_beyond_ascii([text.encode(page)])).page for text, page in texts.items()]
    ['cp1250', 'iso8859_2', 'cp1254', 'cp1252']
    >>> code_page([b"\\xb9aty"])
    CodePage(page='cp1250', other='iso8859_2', words=('ąaty', 'šaty'), known=True)
    """
    listed = sorted(word for word in words if not re.match(UNITS, word.decode(WESTERN, "replace")))
    if not listed:
        return CodePage(WESTERN)
    readings = sorted((_read(listed, page) for page in PAGES), key=lambda each: -each.likelihood)
    best = readings[0]
    if best.explained < MIN_EXPLAINED:
        return CodePage(WESTERN, None, (listed[0].decode(WESTERN, "replace"),), known=False)
    letters = sum(byte >= 0x80 for word in listed for byte in word)
    clear = CLEAR + CLEAR_EACH * sqrt(letters - 1)
    for other in readings[1:]:
        if best.likelihood - other.likelihood >= clear or other.explained < MIN_EXPLAINED:
            continue
        pairs = ((word.decode(best.page, "replace"), word.decode(other.page, "replace")) for word in listed)
        if different := next((pair for pair in pairs if pair[0] != pair[1]), None):
            return CodePage(best.page, other.page, different)
    texts = [word.decode(best.page, "replace") for word in listed]
    return CodePage(next(page for page in PAGES if [word.decode(page, "replace") for word in listed] == texts))


def _read(words: list[bytes], page: str) -> Reading:
    """Likelihood of words in a code page."""
    letters: Counter[tuple[str, float]] = Counter()
    for word in words:
        text = word.decode(page, "replace")
        for k, letter in enumerate(text):
            if not letter.isascii():
                letters[letter.lower(), _fits(text, k)] += 1
    languages, usual = PAGES[page]
    shares = {name: _frequencies(name) for name in languages}
    every: Counter[str] = Counter()
    for share in shares.values():
        every.update({letter: value / len(shares) for letter, value in share.items()})
    likelihood = max(log(SPOKEN[name]) + _likelihood(letters, share, every) for name, share in shares.items())
    known = sum(
        number for (letter, fit), number in letters.items() if fit > MISPLACED and (letter in every or letter in SIGNS)
    )
    return Reading(page, likelihood + log(usual), known / sum(letters.values()))


def _fits(text: str, place: int) -> float:
    """How well a letter stands in its place: less beside another script, as a capital within, or in a cluster."""
    letter, before, after = text[place], text[place - 1 : place], text[place + 1 : place + 2]
    beside = [each for each in (before, after) if each.isalpha()]
    foreign = letter.isalpha() and ord(letter) >= 0x370 and any(each.isascii() for each in beside)
    joins = letter in JOINING and all(ord(each) < 0x370 for each in beside)
    inside = not letter.isalpha() and not joins and len(beside) == 2
    if foreign or inside or (letter.isupper() and before.islower()):
        return MISPLACED
    same = len(beside) == 2 and all(_is_vowel(each) == _is_vowel(letter) for each in beside)
    return CLUSTERED if same and letter.isalpha() else 1.0


def _is_vowel(letter: str) -> bool:
    """Whether a letter of the Latin alphabet is a vowel."""
    return normalize("NFD", letter.lower())[0] in "aeiouyæøœı"


def _likelihood(
    letters: Mapping[tuple[str, float], int], own: Mapping[str, float], every: Mapping[str, float]
) -> float:
    """Logarithm of the likelihood of letters in a language."""
    total = 0.0
    for (letter, fit), number in letters.items():
        share = OWN_SHARE * own.get(letter, 0.0) + (1 - OWN_SHARE) * every.get(letter, 0.0)
        share = max(share, SIGN if letter in SIGNS else UNKNOWN)
        total += number * log(max(share * fit, UNKNOWN))
    return total


def _frequencies(language: str) -> dict[str, float]:
    """Share of each letter beside a to z in a language."""
    parts = LANGUAGES[language].split()
    values = dict(zip(parts[::2], map(float, parts[1::2]), strict=True))
    total = sum(values.values())
    return {letter: value / total for letter, value in values.items()}
