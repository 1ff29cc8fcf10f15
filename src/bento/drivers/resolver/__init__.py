"""Names of containers, for containers: see ``base``, and the process in ``server``."""
