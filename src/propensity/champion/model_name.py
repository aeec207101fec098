"""Names of models as a reader meets them."""

from __future__ import annotations

import re

NETWORK = "network"
NAMES = {
    "network": "Network",
    "lightgbm": "LightGBM",
    "frequency": "Personal frequency",
    "logistic": "Logistic regression",
    "popularity": "Popularity",
    "stack": "Stack",
    "champion": "Champion",
    "oracle": "Oracle",
}


def name_of(model: str) -> str:
    """A model's name as printed."""
    return NAMES.get(model, model)


def in_text(model: str) -> str:
    """A model's name inside a sentence.

    >>> in_text("network"), in_text("stack"), in_text("lightgbm")
    ('network', 'stack', 'LightGBM')
    """
    return model if model in (NETWORK, "stack", "champion") else name_of(model)


def the(model: str) -> str:
    """A model as the subject of a sentence.

    >>> the("network"), the("lightgbm")
    ('the network', 'LightGBM')
    """
    return f"the {model}" if model in (NETWORK, "stack") else name_of(model)


def reason_in_text(reason: str) -> str:
    """The reason of a choice with the names of models as printed.

    >>> reason_in_text("its log loss is 0.45, against 0.47 of lightgbm, the best single candidate")
    'its log loss is 0.45, against 0.47 of LightGBM, the best single candidate'
    """
    return re.sub(rf"\bof ({'|'.join(NAMES)})\b", lambda found: f"of {in_text(found[1])}", reason)


def served_in_text(name: str, reason: str) -> str:
    """The served model and why, as a clause.

    >>> served_in_text("lightgbm", "it is the only candidate")
    'served model: LightGBM, because it is the only candidate'
    """
    return f"served model: {in_text(name)}, because {reason_in_text(reason)}"
