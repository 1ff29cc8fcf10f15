"""Units of systemd: scopes for containers and their monitors, and the services that stop them."""
