"""The bodies of requests as typed records, and what they mean to the engine. Pure; what is wrong is a UsageError."""
