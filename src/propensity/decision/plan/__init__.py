"""Campaign plans: requests, the planner and the heuristics it is compared with."""
