"""Images made from a Containerfile."""
