"""The replaceable parts below the engine: each family has a Protocol in base.py, and drivers on this host."""
