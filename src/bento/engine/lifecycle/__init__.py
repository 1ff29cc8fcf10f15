"""From create to remove: every verb that changes what a container is, and what follows its exit."""
