"""Results as people read them: tables on the screen, one HTML page. Knows metrics and scores, never a model."""
