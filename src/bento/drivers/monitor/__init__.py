"""Monitors: one small process per container that holds its output and sees its exit."""
