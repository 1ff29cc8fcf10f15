"""What runs in a container, and what it takes of the machine."""
