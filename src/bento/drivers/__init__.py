"""The replaceable parts below the engine: each family has a Protocol in base.py, real drivers and a fake."""
