"""What a ranking and its probabilities are worth: pure functions of arrays, from one offer to a whole report."""
