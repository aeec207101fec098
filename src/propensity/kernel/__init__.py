"""NumPy in, NumPy out, Numba inside; imports nothing of ours. `reference` holds the plain definition of every kernel here.

Every kernel obeys one inequality: an event is visible at a cutoff when `day < cutoff`, and belongs to the label when
`cutoff <= day < cutoff + horizon`.
"""
