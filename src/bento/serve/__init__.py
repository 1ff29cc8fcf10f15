"""The process of ``bento serve``: sockets, signals, and the servers that listen there."""
