"""Code page of a text file that is not UTF-8: Windows-1252, 1250 or 1254, by the alphabets of their languages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

WESTERN = "cp1252"  # used unless another page explains more
ALPHABETS = {  # letters beside a to z in the languages of a code page
    WESTERN: (
        "äöüß",
        "àâæçèéêëîïôœùûüÿ",
        "áéíñóúü",
        "àèéìíîòóùú",
        "àáâãçéêíóôõúü",
        "áéèëïóöü",
        "åäöéæøü",
        "áðéíóúýþæö",
        "äõöüšž",
    ),
    "cp1250": ("áéíóöőúüű", "ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "ăâîşţ", "čćđšž"),
    "cp1254": ("âçğıİîöşüû",),
}
MIN_EXPLAINED = 0.9  # share of the letters that belong to one alphabet
MIN_GAIN = 0.02  # by which another code page must explain more than Windows-1252


def code_page(counts: Counter[int]) -> str:
    """Choose the code page of a text.

    Parameters
    ----------
    counts : Counter of int
        Number of each byte of the text.

    Returns
    -------
    str
        "cp1250" or "cp1254" if nearly all letters beyond ASCII belong to the alphabet of one of its languages, and
        fewer to that of any language of Windows-1252; otherwise "cp1252".

    Notes
    -----
    Bytes that are signs in Windows-1252, such as £, ° and the dash, say nothing.

    Examples
    --------
    >>> texts = {"gyümölcs, hűvös": "cp1250", "źródło, gęś": "cp1250", "Müşteri, ağaç": "cp1254", "Größe": "cp1252"}
    >>> [code_page(Counter(text.encode(page))) for text, page in texts.items()]
    ['cp1250', 'cp1250', 'cp1254', 'cp1252']
    """
    letters = {byte: number for byte, number in counts.items() if byte >= 0x80 and _is_letter(byte)}
    total = sum(letters.values())
    if not total:
        return WESTERN
    shares = {
        page: max(_explained(letters, page, alphabet) for alphabet in alphabets) / total
        for page, alphabets in ALPHABETS.items()
    }
    best = max(shares, key=lambda page: shares[page])
    gains = shares[best] >= MIN_EXPLAINED and shares[best] - shares[WESTERN] > MIN_GAIN
    return best if gains else WESTERN


def _is_letter(byte: int) -> bool:
    """Whether a byte is a letter of Windows-1252."""
    text = bytes([byte]).decode(WESTERN, "replace")
    return text.isalpha() and text not in "ªºµƒ"


def _explained(letters: Mapping[int, int], page: str, alphabet: str) -> int:
    """Number of letters that belong to an alphabet if they are read in a code page."""
    known = {text for each in alphabet for text in (each, each.upper()) if len(text) == 1}
    return sum(number for byte, number in letters.items() if bytes([byte]).decode(page, "replace") in known)
