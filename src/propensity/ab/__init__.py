"""Experiments: design, split, analysis, uplift, and the value of a policy. Functions of a plain table, without torch."""
