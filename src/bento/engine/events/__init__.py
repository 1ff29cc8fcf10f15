"""The log of events, for those that follow it."""
