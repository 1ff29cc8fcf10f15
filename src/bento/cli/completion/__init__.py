"""Completion of command lines: what may stand at the end of one, and the scripts that have a shell ask for it."""
