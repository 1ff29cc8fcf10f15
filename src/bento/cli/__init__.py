"""The command line: one verb per file, a thin user of the engine."""
