"""From raw tables to what a network eats: event log, offers, cutoffs, features, examples. Imports no torch."""
