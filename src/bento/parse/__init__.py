"""From the words of an option to a record. Pure; what is wrong is a UsageError."""
