"""Training: data module, Lightning module, validation, loggers, run folder and checkpoint."""
