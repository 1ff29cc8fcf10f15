"""The verbs for the files of a container."""
