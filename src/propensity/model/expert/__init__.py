"""Experts: each has an opinion about every pair, as a logit (B, M), or (K,) of some pairs, or about the visit, (B,)."""
