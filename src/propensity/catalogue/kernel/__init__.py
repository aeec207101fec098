"""Numba kernels of requests. Each has arrays as arguments and fills arrays that the caller has made."""
