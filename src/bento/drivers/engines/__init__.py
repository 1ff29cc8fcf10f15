"""Other container engines, by their command lines."""
