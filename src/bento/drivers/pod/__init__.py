"""The namespaces of pods."""
