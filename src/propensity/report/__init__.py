"""Results for readers: terminal tables, report.md and the report page. Depends on metrics and scores, not on models."""
