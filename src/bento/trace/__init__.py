"""Where the time of a verb goes: what ``--trace FILE`` writes. Nothing of it is imported without that option."""
