"""The Python interface, exported by `propensity`: workflow, model, evaluation, and value."""
