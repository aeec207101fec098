"""Fitting a network: loader, Lightning module, run folder, checkpoint, evaluation."""
