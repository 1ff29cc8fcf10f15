"""A network that takes anything: for tests of the engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

from bento import command
from bento.command import Child
from bento.drivers.network.base import Leftover, Reservation
from bento.errors import BentoError
from bento.model.network import Connection, Port


class FakeNetwork:
    """Implements ``NetworkDriver``.

    Attributes:
        calls: (verb, container id) in order.
        made: containers that are connected.
        drain_error: what ``end`` says of a drain.
        release_errors: raised by the next releases, first one first.
        gone: what others have removed.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.calls: list[tuple[str, str]] = []
        self.made: set[str] = set()
        self.drain_error = ""
        self.drain_command = ["/bin/true"]
        self.release_errors: list[BentoError] = []
        self.gone: list[str] = []

    def check(self, network: str, ports: Collection[Port]) -> None:
        """Take anything."""

    def namespaces(self, network: str) -> list[dict[str, str]]:
        """Return a namespace of its own, whatever the network."""
        self.asked.append(network)
        return [{"type": "network"}]

    def reserve(self, ports: Collection[Port]) -> Reservation:
        """Hold nothing."""
        return Reservation(tuple(ports), ())

    def locked(self, *, wait: bool = True) -> AbstractContextManager[None]:
        """Lock nothing."""
        return nullcontext()

    def choose(self, container_id: str, taken: Collection[str], ports: tuple[Port, ...]) -> Connection:
        """Return the first address that is free."""
        address = next(address for n in range(2, 255) if (address := f"10.0.0.{n}") not in taken)
        return Connection(
            bridge="fake0", address=address, prefix=24, gateway="10.0.0.1", mac="02:00:00:00:00:02", ports=ports
        )

    def connect(
        self, container_id: str, connection: Connection, pid: int, others: Callable[[], Mapping[str, Connection]]
    ) -> None:
        """Remember."""
        self.calls.append(("connect", container_id))
        self.made.add(container_id)

    def begin_drain(self, container_id: str, connection: Connection) -> Child:
        """Start ``drain_command``."""
        self.calls.append(("drain", container_id))
        return command.spawn(self.drain_command)

    def end(self, child: Child) -> str:
        """Return ``drain_error``."""
        child.finish(10.0)
        return self.drain_error

    def release(self, container_id: str, address: str = "") -> Iterator[Child]:
        """Forget, unless a test wants an error."""
        self.calls.append(("release", container_id))
        if self.release_errors:
            raise self.release_errors.pop(0)
        yield command.spawn(["/bin/true"])
        self.made.discard(container_id)

    def leftovers(self) -> list[Leftover]:
        """Return the containers that are connected."""
        return [Leftover(container_id, "connection") for container_id in sorted(self.made)]

    def missing(self, connections: Mapping[str, Connection]) -> list[str]:
        """Return what a test has removed, if any container is connected."""
        return list(self.gone) if connections else []

    def mend(self, connections: Mapping[str, Connection]) -> None:
        """Forget that."""
        self.gone = []
