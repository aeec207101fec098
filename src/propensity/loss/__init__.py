"""Losses: Outputs, Outcomes and weights -> one number, and the terms it is made of."""
