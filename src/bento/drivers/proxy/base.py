"""What the engine needs of a proxy: ports published on [::1], which no rule of the kernel can forward."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from bento.model.container import ProcessIdentity
from bento.model.network import Port


class Proxied(Struct, frozen=True, kw_only=True):
    """A container that runs, and its ports that are passed on.

    ``process``: its PID 1; the proxy ends with it. ``monitor``: the process that keeps the sockets (``reserve``).
    ``address``: where the container is reached; "": nowhere, so that connections are reset.
    """

    container_id: str
    process: ProcessIdentity
    monitor: ProcessIdentity | None
    address: str
    ports: tuple[Port, ...]


class Ending(Protocol):
    """A proxy that was killed. As ``network.base.Part``."""

    def fileno(self) -> int:
        """Return a descriptor that polls readable when it has ended."""

    def finish(self, timeout_s: float) -> object:
        """Wait for that."""

    def kill(self) -> None:
        """Let go of it. Idempotent."""


class ProxyDriver(Protocol):
    """One process for each container that has such ports, which may be killed at any time: connections that come then
    wait in the sockets for the next one.

    No call may come from a thread in a mount namespace of a container's: the process would keep that.
    """

    def put(self, proxied: Proxied) -> None:
        """Have the ports of a container passed on from now on, to where it is reached now. Idempotent.

        Starts the process where there is none, and does not wait for it. Nothing, when the container has ended.
        Raises RuntimeFailed, PortTaken (the monitor was killed, and another program has the port), KernelError.
        """

    def is_put(self, proxied: Proxied) -> bool:
        """Whether the process is there, and passes on to this address: a command may have died before it was told."""

    def begin_drain(self, proxied: Proxied) -> int | None:
        """Have new connections refused; those under way live on. Idempotent; does not wait.

        Return a descriptor, the caller's to close, that polls readable when those that had been made before are passed
        on. None: it is done.
        """

    def end(self, container_id: str) -> Ending | None:
        """Have the process end, with what is under way. Does not wait. None: there is none. Idempotent."""
