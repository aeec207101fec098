"""Metrics of rankings, probabilities and expected revenue: pure functions of arrays."""
