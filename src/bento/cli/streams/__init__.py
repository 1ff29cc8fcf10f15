"""Our own standard streams, and those of a process that is attached to."""
