"""Seasonality: what the send date adds to the log-odds of each offer, (S,) and (M, D) -> (M,)."""
