"""The nightly run: from delivered files to send lists, by steps that are done once, and the registry of models."""
