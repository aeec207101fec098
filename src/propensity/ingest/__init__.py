"""From raw tables to the event log: contract, sources, cleaning rules, privacy, erasure, append."""
