"""Pods: made, looked at, stopped and removed."""
