"""What a container is given while it runs: its network, its mounts, its volumes."""
