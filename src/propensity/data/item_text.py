"""Text of offers as vectors: hashed words and character n-grams of their items, and the directions in which they vary.

I items, T distinct texts, H hashed features, R dimensions, M offers. The document of an offer holds the distinct texts
of its items once each, so that neither the number of items with a text nor a long text outweighs the others.
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
from propensity.kernel.ragged import offsets_of, positions

FEATURES = 2048  # hashed
RANK = 32  # dimensions of a vector
STEPS, SPARE = 8, 16  # of the subspace iteration; dimensions beyond RANK
SHORTEST, LONGEST = 3, 5  # characters of an n-gram
BLOCK = 4096  # offers at a time
MOST = 16_384  # offers that a model is fitted on; of more, those with the smallest hash of their name
SHARPNESS = 3  # power of the cosine by which offers are weighted
WORD = re.compile(r"\w+|[^\w\s]+")


@dataclass(frozen=True)
class TextModel:
    """A frozen map from the texts of offers to vectors.

    Parameters
    ----------
    columns : tuple of str
        Columns of the items that hold text.
    directions : str
        (H, R) float32 as base64: inverse document frequency times direction.

    Notes
    -----
    Weinberger et al., Feature Hashing for Large Scale Multitask Learning, ICML 2009; Deerwester et al., Indexing by
    Latent Semantic Analysis, JASIS 1990; Salton and Buckley, Term-Weighting Approaches in Automatic Text Retrieval,
    Information Processing and Management 1988.
    """

    columns: tuple[str, ...]
    directions: str

    @property
    def matrix(self) -> np.ndarray:
        """The directions (H, R) float32."""
        return np.frombuffer(base64.b64decode(self.directions), "<f4").reshape(FEATURES, RANK)

    def vectors(self, items: pl.DataFrame, offers: Offers) -> np.ndarray:
        """Map offers to vectors.

        Parameters
        ----------
        items : DataFrame
            I items. A column that is not there has no text.
        offers : Offers
            M offers.

        Returns
        -------
        (M, R) float32
            Of length 1; 0 for an offer without text, or without a part that the model knows.
        """
        matrix = self.matrix
        with threadpool_limits(limits=1, user_api="blas"):
            blocks = [document @ matrix for document in documents(items, self.columns, offers)]
        return np.asarray(unit_length(np.concatenate([np.zeros((0, RANK), np.float32), *blocks])), np.float32)


def fit_text(items: pl.DataFrame, columns: Sequence[str], offers: Offers) -> TextModel:
    """Fit a model on the documents of offers.

    Parameters
    ----------
    items : DataFrame
        I items.
    columns : sequence of str
        Columns that hold text.
    offers : Offers
        Offers of the items that are known.

    Returns
    -------
    TextModel
        Truncated singular value decomposition of hashed words and n-grams, weighted by inverse document frequency.

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
    blocks = list(documents(items, columns, _sample(offers)))
    size, in_documents = sum(map(len, blocks)), np.zeros(FEATURES)
    for document in blocks:
        in_documents += (document != 0).sum(axis=0)
    rarity = np.log((1 + size) / (1 + in_documents)) + 1
    with threadpool_limits(limits=1, user_api="blas"):
        weighted = [unit_length(document * rarity.astype(np.float32)) for document in blocks]
        directions = rarity[:, None] * _directions(weighted)
    return TextModel(tuple(columns), base64.b64encode(directions.astype("<f4").tobytes()).decode())


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


def documents(items: pl.DataFrame, columns: Sequence[str], offers: Offers) -> Iterator[np.ndarray]:
    """Weights of the hashed parts of offers' documents, at most `BLOCK` offers at a time.

    Parameters
    ----------
    items : DataFrame
        I items. A column that is not there has no text.
    columns : sequence of str
        Columns that hold text.
    offers : Offers
        M offers.

    Yields
    ------
    (at most BLOCK, H) float32
        For the signed number of occurrences n of a hashed part in the distinct texts, sign(n) (1 + log |n|).
    """
    texts, place = distinct_texts(items, columns)
    offsets, code, sign = _hashed(texts)
    offer, text = np.unique(np.stack([offers.item_offer, place[offers.item]]), axis=1).astype(np.int64)
    for start in range(0, len(offers), BLOCK):
        first, last = np.searchsorted(offer, [start, start + BLOCK])
        size = min(BLOCK, len(offers) - start)
        own, count = text[first:last], np.diff(offsets)[text[first:last]]
        entry = positions(offsets[own], count)
        cell = np.repeat(offer[first:last] - start, count) * FEATURES + code[entry]
        number = np.bincount(cell, sign[entry], minlength=size * FEATURES).reshape(size, FEATURES)
        yield (np.sign(number) * (1 + np.log(np.maximum(np.abs(number), 1)))).astype(np.float32)


def _hashed(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hashed parts of each text: offsets (T + 1,), and codes and signs of all parts."""
    hashes = [[zlib.crc32(part.encode()) for part in parts_of(text)] for text in texts]
    code = np.fromiter((each for parts in hashes for each in parts), np.int64)
    return offsets_of(np.array([len(parts) for parts in hashes])), code % FEATURES, np.where(code >> 31, 1.0, -1.0)


def _sample(offers: Offers) -> Offers:
    """At most MOST of the offers, in their order."""
    if len(offers) <= MOST:
        return offers
    code = np.array([zlib.crc32(name.encode()) for name in offers.name])
    return offers.take(np.sort(np.argsort(code, kind="stable")[:MOST]))


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
