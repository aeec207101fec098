"""Experts: each has an opinion about every pair, as a logit (B, M), or about the visit, (B,)."""
