"""Who will buy which offer in the next days, and what reaching them is worth.

An event log and a list of offers go in, a table of scores comes out; docs/architecture.md draws the line between them.
What `__all__` names is loaded when it is first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from propensity.api.evaluation import Evaluation
    from propensity.api.model import Arrays, Bundle, Model
    from propensity.api.value import churn, clv, kpi
    from propensity.api.workflow import decide, fit, load, prepare
    from propensity.data.event_log import EventLog

__version__ = "0.1.0"
__all__ = [
    "Arrays",
    "Bundle",
    "Evaluation",
    "EventLog",
    "Model",
    "churn",
    "clv",
    "decide",
    "fit",
    "kpi",
    "load",
    "prepare",
]
PLACES = {
    "EventLog": "propensity.data.event_log",
    "Evaluation": "propensity.api.evaluation",
    **dict.fromkeys(("Arrays", "Bundle", "Model"), "propensity.api.model"),
    **dict.fromkeys(("churn", "clv", "kpi"), "propensity.api.value"),
    **dict.fromkeys(("decide", "fit", "load", "prepare"), "propensity.api.workflow"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(PLACES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
