"""The verbs for volumes."""
