"""The process that passes connections on. It imports C modules, and what is frozen, alone."""
