"""Docker's Engine API: requests to calls of the engine, and what that returns to Docker's answers."""
