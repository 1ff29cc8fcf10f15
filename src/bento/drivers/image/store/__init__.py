"""Blobs and layers on disk, and images on their way in or out."""
