"""NumPy in, NumPy out, Numba inside; imports nothing of ours. `reference*.py` hold the plain definitions.

Every kernel obeys one inequality: an event is visible at a cutoff when `day < cutoff`, and belongs to the label when
`cutoff <= day < cutoff + horizon`.

A compiled kernel on disk notices changes of its own file only: after changing a function or constant that another
kernel imports, delete `kernel/__pycache__`. That is why the columns of a kernel are declared in the kernel's own file.
"""
