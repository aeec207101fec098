"""Customer value and churn: orders and revenue of the next weeks, their distribution, and early warnings."""
