"""Seasonality: what the cutoff adds to the log-odds of each offer, (S,) and (M, D) -> (M,)."""
