"""The verbs for pods."""
