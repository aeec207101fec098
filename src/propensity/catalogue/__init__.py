"""Ranking of a whole catalogue for requests: each customer at a cutoff of his own, and a short list of all offers."""
