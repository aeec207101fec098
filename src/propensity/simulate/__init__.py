"""A synthetic market whose true purchase probabilities are known."""
