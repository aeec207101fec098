"""Fixtures of the tests of engines."""

from __future__ import annotations

from serving.exported import exported  # noqa: F401
