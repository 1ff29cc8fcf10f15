"""Health checks: when one is due, what follows from its result, and the process that carries them out."""
