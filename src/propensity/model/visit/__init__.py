"""Visit expert: a logit for whether the customer buys anything in the horizon."""
