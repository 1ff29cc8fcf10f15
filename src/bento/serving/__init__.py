"""What the servers of all interfaces share: threads that call the engine, its events, workers, waiting on the loop."""
