"""The section of metrics.json on what the model relies on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KINDS = ("any", "best")  # offers: one drawn at random, and the one with the highest score


def ordered(section: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The groups with any contribution, the largest of random offers first.

    Parameters
    ----------
    section : mapping
        Result of `reliance`.
    """
    groups = [each for each in section["groups"] if any(each[kind]["value"] > 0 for kind in KINDS)]
    return sorted(groups, key=lambda each: -each["any"]["value"])
