"""Key figures of a shop as of a cutoff: customers, cohorts, tiers, segments, value and churn; every sum is exact."""
