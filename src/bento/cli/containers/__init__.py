"""The verbs that make, run, stop and delete containers."""
