"""The endpoints, a module for each topic: each function takes a call and returns its reply."""
