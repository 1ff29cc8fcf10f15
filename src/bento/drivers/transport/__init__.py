"""How images come and go: registries, other engines' stores, archives."""
