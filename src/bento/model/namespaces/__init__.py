"""Records of namespaces."""
