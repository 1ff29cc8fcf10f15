"""systemd: what it is told of a container, what it has Bento stop, and a unit for it."""
