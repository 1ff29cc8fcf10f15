"""Messages of the Container Runtime Interface as what the engine takes. Pure."""
