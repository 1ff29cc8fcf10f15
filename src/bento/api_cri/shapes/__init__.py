"""Records as messages of the Container Runtime Interface. Pure."""
