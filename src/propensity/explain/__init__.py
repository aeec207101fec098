"""Reasons for a score in words, what a model relies on, and documents that are written from a run."""
