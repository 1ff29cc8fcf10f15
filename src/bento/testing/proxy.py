"""A proxy that remembers what it was told: for tests of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bento.drivers.proxy.base import Proxied
    from bento.errors import BentoError


class FakeProxy:
    """Implements ``ProxyDriver``.

    Attributes:
        put_for: what each container's was told, by id, until it ends.
        killed: ids of those whose process is not there; a test adds one.
        drained: ids of those that take no new connections.
        put_error: raised by the next ``put``.
    """

    def __init__(self) -> None:
        self.put_for: dict[str, Proxied] = {}
        self.killed: set[str] = set()
        self.drained: set[str] = set()
        self.put_error: BentoError | None = None

    def put(self, proxied: Proxied) -> None:
        """Remember it."""
        error, self.put_error = self.put_error, None
        if error is not None:
            raise error
        self.put_for[proxied.container_id] = proxied
        self.killed.discard(proxied.container_id)

    def is_put(self, proxied: Proxied) -> bool:
        """Whether that was put, and a test has not killed it."""
        told = self.put_for.get(proxied.container_id)
        is_there = told is not None and proxied.container_id not in self.killed
        return is_there and told is not None and told.address == proxied.address

    def begin_drain(self, proxied: Proxied) -> int | None:
        """Remember it; it is done at once."""
        self.drained.add(proxied.container_id)
        return None

    def end(self, container_id: str) -> None:
        """Forget it."""
        self.put_for.pop(container_id, None)
        self.drained.discard(container_id)
