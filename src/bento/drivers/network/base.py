"""What the engine needs of a network. ``none`` and ``host`` need no set-up: the namespaces say it all."""

from __future__ import annotations

from typing import Protocol


class NetworkDriver(Protocol):
    """Decides the network namespace of a container."""

    def namespaces(self, network: str) -> list[dict[str, str]]:
        """Return the entries for ``linux.namespaces`` of config.json. Raises UsageError for an unknown network."""
