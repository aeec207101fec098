"""Losses: from outputs, outcomes and weights to a total and its terms."""
