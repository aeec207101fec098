"""Encoders: the last events of a customer as one vector, (B, L, D) and (B,) lengths -> (B, D).

A length may be 0, and padding never changes the output.
"""
