"""From a layer's archive to a directory for overlayfs."""
