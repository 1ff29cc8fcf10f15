"""The verbs that show containers."""
