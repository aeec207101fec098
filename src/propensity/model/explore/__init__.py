"""Explore expert: a logit for each pair from the customer's state and the offer."""
