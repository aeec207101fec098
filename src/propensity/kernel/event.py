"""Event kinds, as the small integers that the kernels compare; the one place that numbers them."""

from __future__ import annotations

PURCHASE, VIEW, MESSAGE, REDEMPTION, RETURN = range(5)
KINDS = ("purchase", "view", "message", "redemption", "return")
