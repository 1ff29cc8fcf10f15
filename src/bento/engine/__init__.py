"""The verbs, one per file, on drivers they only know by Protocol. Start with ``facade``, then ``stop``."""
