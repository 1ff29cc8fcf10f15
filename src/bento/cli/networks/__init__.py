"""The verbs for networks."""
