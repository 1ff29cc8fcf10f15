"""What the engine needs of a network. ``none`` and ``host`` need no set-up: the namespaces say it all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from msgspec import Struct

from bento.command import Child
from bento.model.network import Connection, Port


class Reservation(Struct, frozen=True):
    """Ports of the host that are kept while any copy of the descriptors is open; the caller closes them."""

    ports: tuple[Port, ...]  # with the host ports that were chosen
    fds: tuple[int, ...]


class Leftover(Struct, frozen=True):
    """Something made for a container. ``container_id`` is the beginning of its id; "" for a shared thing."""

    container_id: str
    what: str


class NetworkDriver(Protocol):
    """Connects containers. What is made for one is named after it, so that any command can remove it at any time."""

    def check(self, network: str, ports: Collection[Port]) -> None:
        """Refuse what cannot be had, before anything is made. Raises UsageError, MissingTool."""

    def namespaces(self, network: str) -> list[dict[str, str]]:
        """Return the entries for ``linux.namespaces`` of config.json. Raises UsageError for an unknown network."""

    def reserve(self, ports: Collection[Port]) -> Reservation:
        """Take ports of the host. Raises PortTaken, UsageError (not an address of this host)."""

    def locked(self, *, wait: bool = True) -> AbstractContextManager[None]:
        """Keep every other engine of this host from changing its networks. Raises Conflict unless it may wait."""

    def choose(self, container_id: str, taken: Collection[str], ports: tuple[Port, ...]) -> Connection:
        """Return a place on the bridge whose address is not in ``taken``. Nothing is made. Call it locked,
        and record the answer before letting go. Raises Conflict when there is none.
        """

    def connect(
        self, container_id: str, connection: Connection, pid: int, others: Callable[[], Mapping[str, Connection]]
    ) -> None:
        """Make the connection of the network namespace of this process. Blocks. Raises RuntimeFailed; then
        ``release`` removes what there is of it.

        ``others``: asked for those of all containers that run, where firewall rules of theirs have to be made again.
        """

    def begin_drain(self, container_id: str, connection: Connection) -> Child:
        """Start closing the published ports to new connections; those under way live on. Idempotent."""

    def end(self, child: Child) -> str:
        """Reap a child of this driver; return "" when it has done its work, else the reason."""

    def release(self, container_id: str, address: str = "") -> Iterator[Child]:
        """Remove all that was made for a container, and with the last one what they shared.

        ``address``: its own, if ports were forwarded to it: then the kernel forgets these connections, even where the
        rules are gone that said so.

        Each child is to be waited for before the next one is asked for, which raises RuntimeFailed when it failed.
        Raises Conflict, to be tried again a little later, while another engine changes networks. Idempotent.
        """

    def leftovers(self) -> list[Leftover]:
        """Return what was made by this engine and is there. Slow."""

    def missing(self, connections: Mapping[str, Connection]) -> list[str]:
        """Return what others have removed of what was made for these containers, by id. Slow.

        A container that has no link any more is about to end, and misses nothing.
        """

    def mend(self, connections: Mapping[str, Connection]) -> None:
        """Put back what ``missing`` names. Blocks. Idempotent. Raises RuntimeFailed."""
