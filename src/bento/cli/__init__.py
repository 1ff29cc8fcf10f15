"""The command line: a module for each verb, or for those that differ little, a thin user of the engine."""
