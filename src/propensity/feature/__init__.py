"""What is known at a cutoff: calendar, windows, market statistics, history masks, weights."""
