"""A network that takes any name: for tests of the engine."""

from __future__ import annotations


class FakeNetwork:
    """Implements ``NetworkDriver``; remembers which networks were asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def namespaces(self, network: str) -> list[dict[str, str]]:
        """Return a namespace of its own, whatever the network."""
        self.asked.append(network)
        return [{"type": "network"}]
