"""The networks that need no set-up: a namespace with nothing but loopback, or the host's own."""

from __future__ import annotations

from bento.errors import UsageError


class SimpleNetwork:
    """``none`` and ``host`` (implements ``NetworkDriver``). Runtimes bring a new namespace's loopback up themselves."""

    def namespaces(self, network: str) -> list[dict[str, str]]:
        """See ``NetworkDriver.namespaces``."""
        if network == "none":
            return [{"type": "network"}]
        if network == "host":
            return []
        raise UsageError(f"unknown network {network!r}", hint="use none or host")
