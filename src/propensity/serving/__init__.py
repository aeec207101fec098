"""Production use of a trained network: export, verification, batch and online scoring, drift."""
