"""What the verbs print: tables, templates, progress, the output of containers."""
