"""The verbs for images."""
