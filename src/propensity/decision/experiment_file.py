"""Effects of plays from the analysis of an experiment; a play without one has no effect that could be claimed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from propensity.errors import ConfigurationError, DataError

FILE = "analysis.json"
LEVELS = ("arms", "effects", "outcomes")  # keys above arms and outcomes that are no names of theirs
MISMATCH = 0.001  # p of the sample ratio below which an experiment was not split as planned


class Effect(NamedTuple):
    """The effect of a play on an outcome, or why none is claimed.

    Attributes
    ----------
    value, low, high : float
        Difference to the control group and its 95 % interval, in the outcome's own unit; NaN where none is claimed.
    control : float, optional
        Mean of the control group.
    outcome : str
        Its name.
    reason : str
        Why no effect is claimed; empty where one is.
    """

    value: float
    low: float
    high: float
    control: float | None
    outcome: str
    reason: str = ""

    @property
    def claimed(self) -> bool:
        """Whether there is an effect to count with."""
        return not self.reason


def no_effect(reason: str, outcome: str = "") -> Effect:
    """No effect, and why."""
    return Effect(math.nan, math.nan, math.nan, None, outcome, reason)


def effect_of(given: str, arm: str, outcome: str | None) -> Effect:
    """The effect of an arm in an analysis that `propensity ab analyse` wrote.

    Parameters
    ----------
    given : str
        analysis.json, or the folder that holds it.
    arm : str
        Arm of the play.
    outcome : str, optional
        Name; None: the only one of the arm.

    Returns
    -------
    Effect
        Claimed only where the experiment is not refused, its sample ratio is as planned, and the verdict is a win
        (without a verdict: the whole interval is above 0).

    Raises
    ------
    ConfigurationError
        If there is no such file, arm or outcome.
    DataError
        If the file is no analysis.
    """
    path = Path(given) / FILE if Path(given).is_dir() else Path(given)
    if not path.is_file():
        raise ConfigurationError(f"no experiment at {path}; write it with propensity ab analyse, or drop it")
    try:
        analysis = json.loads(path.read_text())
    except ValueError:
        analysis = None
    if not isinstance(analysis, dict):
        raise DataError(f"{path} is no analysis of an experiment; write it again")
    if analysis.get("refused"):
        return no_effect(f"the experiment is refused: {analysis['refused']}")
    ratio = analysis.get("srm_p")
    if isinstance(ratio, int | float) and ratio < MISMATCH:
        return no_effect(f"the arms of the experiment are not as large as planned (p {ratio:.2g})")
    cells = {(a, o): cell for a, o, cell in _cells(analysis)}
    arms = sorted({a for a, _ in cells})
    if arm not in arms:
        raise ConfigurationError(f"{path} has no arm {arm!r}; it has {', '.join(arms) or 'none'}")
    outcomes = sorted(o for a, o in cells if a == arm)
    if outcome is None and len(outcomes) > 1:
        raise ConfigurationError(f"{path} has several outcomes; give outcome one of: {', '.join(outcomes)}")
    chosen = outcomes[0] if outcome is None else outcome
    if chosen not in outcomes:
        raise ConfigurationError(f"{path} has no outcome {chosen!r} of {arm}; it has {', '.join(outcomes)}")
    return _effect(cells[arm, chosen], chosen)


def _effect(cell: Mapping[str, Any], outcome: str) -> Effect:
    if cell.get("refused"):
        return no_effect(f"the effect on {outcome} is refused: {cell['refused']}", outcome)
    if any(cell[name] is None for name in ("effect", "low", "high")):
        return no_effect(f"the interval of the effect on {outcome} is not known", outcome)
    value, low, high = (float(cell[name]) for name in ("effect", "low", "high"))
    verdict = cell.get("verdict", "win" if low > 0 else "tie")
    if verdict != "win" or not low > 0:
        interval = f"{value:+.4g} [{low:+.4g}, {high:+.4g}]"
        return no_effect(f"the experiment shows no gain in {outcome}: {interval}, {verdict}", outcome)
    control = cell.get("control_mean")
    return Effect(value, low, high, None if control is None else float(control), outcome)


def _cells(node: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Arm, outcome and numbers of every effect, in nested mappings or in rows with arm and outcome."""
    if isinstance(node, list):
        for each in node:
            if isinstance(each, dict) and {"arm", "outcome", "effect", "low", "high"} <= each.keys():
                yield str(each["arm"]), str(each["outcome"]), each
    elif isinstance(node, dict):
        names = [name for name in above if name not in LEVELS]
        if {"effect", "low", "high"} <= node.keys() and len(names) >= 2:
            yield names[-2], names[-1], node
            return
        for name, child in node.items():
            yield from _cells(child, (*above, str(name)))
