"""Evaluation, backtests, comparisons, the gate, leakage checks, reproduction and search."""
