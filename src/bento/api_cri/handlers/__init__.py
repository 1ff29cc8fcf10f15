"""A function for each call of the Container Runtime Interface, by topic."""
