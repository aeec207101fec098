"""Repeat expert: a logit for each pair from the customer's own history with the offer."""
