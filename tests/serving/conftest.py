"""The fixtures of tests about bundles."""

from __future__ import annotations

from serving.exported import exported  # noqa: F401
