"""Event log, offers, cutoffs, vocabularies and batches. Imports no torch."""
