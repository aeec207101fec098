"""Names of K-means segments in words, and the two components that show them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MARKED = 0.4  # standard deviations from which a feature sets a segment apart
AVERAGE = "average"
BASKET = 0.6  # weight of features of an order, which are 0 for customers without a recent one
# What a high and a low mean of a feature is called; columns of several windows share a word.
WORDS = {
    "orders": ("frequent", "rare"),
    "spend": ("high spend", "low spend"),
    "recency": ("long inactive", "recent"),
    "interpurchase_time": ("long intervals", "short intervals"),
    "order_spend": ("large baskets", "small baskets"),
    "order_lines": ("many items an order", "few items an order"),
    "order_offers": ("broad baskets", "narrow baskets"),
    "discount_share": ("deal seekers", "full price"),
    "weekend_share": ("weekends", "weekdays"),
    "return_rate": ("many returns", "few returns"),
}


def word_of(feature: str, high: bool) -> str:
    """What a segment with a high or low mean of a feature is called.

    Examples
    --------
    >>> word_of("spend_91", True), word_of("order_spend", False), word_of("nps", False)
    ('high spend', 'small baskets', 'low nps')
    """
    stem = feature.rsplit("_", 1)[0] if feature.rsplit("_", 1)[-1].isdigit() else feature
    pair = WORDS.get(stem)
    if pair is not None:
        return pair[0] if high else pair[1]
    return f"{'high' if high else 'low'} {feature.replace('_', ' ')}"


def segment_names(mean: np.ndarray, features: Sequence[str]) -> list[str]:
    """Name segments by the features that set them apart.

    Parameters
    ----------
    mean : np.ndarray
        (k, F) means of standardised features.
    features : Sequence[str]
        F names.

    Returns
    -------
    list[str]
        (k) the two words of the features that are farthest from the mean of all customers, from `MARKED` standard
        deviations on; more words where two segments would have the same name, and a number where words do not tell
        them apart.

    Examples
    --------
    >>> segment_names(np.array([[2.0, -1.0], [-0.5, 0.1]]), ["spend_91", "recency"])
    ['high spend, recent', 'low spend']
    """
    ranked = [_words(row, features) for row in mean]
    names = [""] * len(ranked)
    for size in range(2, max(map(len, ranked), default=0) + 3):
        names = [", ".join(words[:size]) or AVERAGE for words in ranked]
        if len({*names}) == len(names):
            return names
    return [f"{name} {names[: k + 1].count(name)}" if names.count(name) > 1 else name for k, name in enumerate(names)]


def _words(mean: np.ndarray, features: Sequence[str]) -> list[str]:
    """Words of the marked features of one segment, once each, the most marked first."""
    size = np.abs(mean) * [BASKET if name.startswith("order_") else 1.0 for name in features]
    order = np.argsort(-size, kind="stable")
    words = [word_of(features[f], bool(mean[f] > 0)) for f in order if abs(mean[f]) >= MARKED]
    return list(dict.fromkeys(words))


def components(row: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first two principal components.

    Parameters
    ----------
    row : np.ndarray
        (n, F) standardised features.

    Returns
    -------
    tuple[np.ndarray, np.ndarray, np.ndarray]
        Places (n, 2), loadings (F, 2) and the shares of variance (2,). With one feature the second component is 0. The
        loading of largest size is above 0, so that the picture does not depend on a sign.
    """
    centred = row.astype(np.float64) - row.mean(axis=0, dtype=np.float64)
    variance, vector = np.linalg.eigh(centred.T @ centred / max(row.shape[0], 1))
    order = np.argsort(-variance, kind="stable")[:2]
    loading = np.zeros((row.shape[1], 2))
    loading[:, : order.size] = vector[:, order]
    largest = np.abs(loading).argmax(axis=0)
    loading *= np.where(loading[largest, [0, 1]] < 0, -1.0, 1.0)
    share = np.zeros(2)
    share[: order.size] = np.maximum(variance[order], 0.0) / max(float(variance.sum()), 1e-12)
    return centred @ loading, loading, share
