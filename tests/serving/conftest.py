"""Fixtures of the tests of bundles."""

from __future__ import annotations

from serving.exported import exported, stacked  # noqa: F401
