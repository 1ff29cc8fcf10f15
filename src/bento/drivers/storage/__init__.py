"""Root filesystems of containers."""
