"""Processes held from outside, unseen: at their exit, or where they are."""
