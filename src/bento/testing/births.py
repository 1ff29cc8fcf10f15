"""Births of processes that a test makes up."""

from __future__ import annotations

from collections.abc import Iterable


class FakeBirths:
    """What was killed before a look could show it: ``unseen``, by PID 1."""

    def __init__(self) -> None:
        self.unseen: dict[int, list[int]] = {}
        self.followed: set[int] = set()

    def follow(self, root: int, pids: Iterable[int]) -> None:
        """Remember."""
        self.followed.update({root, *pids})

    def read(self) -> None:
        """There is nothing to read."""

    def killed(self, root: int) -> list[int]:
        """Return ``unseen``, of a container that is followed."""
        return self.unseen.get(root, []) if root in self.followed else []

    def close(self) -> None:
        """There is nothing to close."""
