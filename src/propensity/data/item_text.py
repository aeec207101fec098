"""Text of items as vectors: hashed words and character n-grams, and the directions in which they vary most.

I items, H hashed features, R dimensions, M offers.
"""

from __future__ import annotations

import base64
import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from propensity.data.offer import Offers
from propensity.errors import ConfigurationError

FEATURES = 2048  # hashed
RANK = 32  # dimensions of a vector
STEPS, SPARE = 8, 16  # of the subspace iteration; dimensions beyond RANK
SHORTEST, LONGEST = 3, 5  # characters of an n-gram
BLOCK = 4096  # texts at a time
MOST = 16_384  # distinct texts that a model is fitted on; of more, those with the smallest hash
SHARPNESS = 2  # power of the cosine by which offers are weighted
WORD = re.compile(r"\w+|[^\w\s]+")


@dataclass(frozen=True)
class TextModel:
    """A frozen map from the texts of items to vectors.

    Parameters
    ----------
    columns : tuple of str
        Columns of the items that hold text.
    weight : str
        (H, R) float32 as base64: inverse document frequency times direction.

    Notes
    -----
    Weinberger et al., Feature Hashing for Large Scale Multitask Learning, ICML 2009; Deerwester et al., Indexing by
    Latent Semantic Analysis, JASIS 1990.
    """

    columns: tuple[str, ...]
    weight: str

    @property
    def matrix(self) -> np.ndarray:
        """The weights (H, R) float32."""
        return np.frombuffer(base64.b64decode(self.weight), "<f4").reshape(FEATURES, RANK)

    def vectors(self, items: pl.DataFrame) -> np.ndarray:
        """Map items to vectors.

        Parameters
        ----------
        items : DataFrame
            I items. A column that is not there has no text.

        Returns
        -------
        (I, R) float32
            Of length 1; 0 for an item without text, or without a part that the model knows.
        """
        texts, place = distinct_texts(items, self.columns)
        matrix = self.matrix
        with threadpool_limits(limits=1, user_api="blas"):
            blocks = [counts @ matrix for counts in _blocks(texts)]
        vectors = unit_length(np.concatenate([np.zeros((0, RANK), np.float32), *blocks]))
        return np.asarray(vectors[place], np.float32)


def fit_text(items: pl.DataFrame, columns: Sequence[str]) -> TextModel:
    """Fit a model on the distinct texts of items.

    Parameters
    ----------
    items : DataFrame
        Items that are known.
    columns : sequence of str
        Columns that hold text.

    Returns
    -------
    TextModel
        Truncated singular value decomposition of hashed n-grams, weighted by inverse document frequency.

    Raises
    ------
    ConfigurationError
        If items have no such column.
    """
    for name in columns:
        if name not in items.columns:
            near = get_close_matches(name, items.columns, n=1) or items.columns
            raise ConfigurationError(
                f"items have no column {name!r}; set data.feature.text to columns such as {near[0]!r}"
            )
    texts = _sample(distinct_texts(items, columns)[0])
    documents = np.zeros(FEATURES)
    for counts in _blocks(texts):
        documents += (counts != 0).sum(axis=0)
    rarity = np.log((1 + len(texts)) / (1 + documents))
    with threadpool_limits(limits=1, user_api="blas"):
        weighted = [unit_length(counts * rarity.astype(np.float32)) for counts in _blocks(texts)]
        weight = rarity[:, None] * _directions(weighted)
    return TextModel(tuple(columns), base64.b64encode(weight.astype("<f4").tobytes()).decode())


def offer_vectors(vectors: np.ndarray, offers: Offers) -> np.ndarray:
    """Vectors of offers.

    Parameters
    ----------
    vectors : (I, R) float32
        Of the items.
    offers : Offers
        M offers.

    Returns
    -------
    (M, R) float32
        Of the direction of the mean over an offer's items, of length 1; 0 for an offer without text.
    """
    sums = np.zeros((len(offers), vectors.shape[1]))
    np.add.at(sums, offers.item_offer, vectors[offers.item])
    return unit_length(sums).astype(np.float32)


def text_weights(known: np.ndarray, new: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Weights by which purchases of known offers speak for offers with a similar text.

    Parameters
    ----------
    known, new : (M, R), (K, R) float32
        Vectors of offers.
    others : (M, K) bool
        Known offers that may be read.

    Returns
    -------
    (M, K) float32
        Powers of positive cosines; each column sums to 1, or is 0 where no text is similar.
    """
    weight = np.where(others, np.maximum(known @ new.T, 0.0) ** SHARPNESS, 0.0)
    total = weight.sum(axis=0)
    return (weight / np.where(total > 0, total, 1.0)).astype(np.float32)


def distinct_texts(items: pl.DataFrame, columns: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The distinct texts of items, sorted, and the place (I,) of each item's."""
    parts = [items[name].cast(pl.String).fill_null("") for name in columns if name in items.columns]
    table = pl.DataFrame({f"{k}": part for k, part in enumerate(parts)})
    if not parts:
        return [""], np.zeros(items.height, np.int64)
    text = table.select(pl.concat_str(pl.all(), separator=" ").alias("text"))["text"]
    values = text.unique().sort()
    place = text.replace_strict(values, range(values.len()), return_dtype=pl.Int64)
    return values.to_list(), place.to_numpy()


def parts_of(text: str) -> Iterator[str]:
    """Words of a text, and runs of characters that are no letters or digits, with their n-grams.

    Examples
    --------
    >>> sorted(parts_of("Ice 22"))
    ['22$', '^22', '^22$', '^ic', '^ice', '^ice$', 'ce$', 'ice', 'ice$']
    """
    for word in WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        bounded = f"^{word}$"
        grams = {bounded[i : i + n] for n in range(SHORTEST, LONGEST + 1) for i in range(len(bounded) - n + 1)}
        yield from grams | {bounded}


def unit_length(rows: np.ndarray) -> np.ndarray:
    """Rows divided by their length; rows of 0 stay."""
    length = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return np.asarray(rows / np.where(length > 1e-12, length, 1.0))


def _blocks(texts: Sequence[str]) -> Iterator[np.ndarray]:
    """Signed counts of hashed parts, (at most BLOCK, H) float32."""
    for start in range(0, len(texts), BLOCK):
        block = texts[start : start + BLOCK]
        counts = np.zeros((len(block), FEATURES), np.float32)
        for row, text in enumerate(block):
            for part in parts_of(text):
                code = zlib.crc32(part.encode())
                counts[row, code % FEATURES] += 1.0 if code & (1 << 31) else -1.0
        yield counts


def _sample(texts: list[str]) -> list[str]:
    """At most MOST of the texts, in their order."""
    if len(texts) <= MOST:
        return texts
    code = np.array([zlib.crc32(text.encode()) for text in texts])
    return [texts[k] for k in np.sort(np.argsort(code, kind="stable")[:MOST])]


def _directions(blocks: list[np.ndarray]) -> np.ndarray:
    """Right singular vectors (H, R) of the largest singular values of the rows of blocks, by subspace iteration.

    A vector of a singular value of 0 is 0.
    """
    squares = sum(((rows**2).sum(axis=0) for rows in blocks), np.zeros(FEATURES))
    basis = np.eye(FEATURES)[:, np.argsort(-squares, kind="stable")[: RANK + SPARE]]
    for _ in range(STEPS):
        basis, _ = np.linalg.qr(_gram_times(blocks, basis) + 1e-9 * basis)
    values, vectors = np.linalg.eigh(basis.T @ _gram_times(blocks, basis))
    leading = np.argsort(-values, kind="stable")[:RANK]
    directions = basis @ vectors[:, leading]
    sign = np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(RANK)])
    return np.asarray(directions * np.where(values[leading] > 1e-9, sign, 0.0))


def _gram_times(blocks: list[np.ndarray], basis: np.ndarray) -> np.ndarray:
    """The product of the Gram matrix of rows and a basis (H, K)."""
    return sum((rows.T @ (rows @ basis) for rows in blocks), np.zeros(basis.shape))
