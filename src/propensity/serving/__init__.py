"""Using a trained network where it earns its keep."""
