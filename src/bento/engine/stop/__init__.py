"""One call of stop: what drives each stop machine, looks, signals, cleans up and writes down."""
