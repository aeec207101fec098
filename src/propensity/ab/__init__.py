"""Experiments: design, split, analysis, uplift, and the value of a policy, as functions of plain tables."""
