"""Pretraining of encoders on histories alone: what comes next, what is hidden, and which slices are of one customer."""
