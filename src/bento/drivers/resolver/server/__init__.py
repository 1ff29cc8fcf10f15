"""The process that resolves names. It is run by an interpreter without site packages, and stays small."""
