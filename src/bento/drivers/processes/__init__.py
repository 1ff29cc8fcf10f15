"""The processes of containers, as the host's kernel shows them."""
