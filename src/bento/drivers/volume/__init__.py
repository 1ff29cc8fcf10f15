"""Volumes of containers."""
