"""Images: pulled, pushed, listed, inspected, saved, loaded."""
