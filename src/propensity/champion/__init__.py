"""The model that a run serves: candidates, their stack, and the rule that chooses among them by validation."""
