"""What the engine needs of networks. ``none`` and ``host`` need no set-up: the namespaces say it all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from msgspec import Struct

from bento.command import Child
from bento.model.network import Attachment, Connection, Network, Port


class Reservation(Struct, frozen=True):
    """Ports of the host that are kept while any copy of the descriptors is open; the caller closes them."""

    ports: tuple[Port, ...]  # with the host ports that were chosen
    fds: tuple[int, ...]


class Leftover(Struct, frozen=True):
    """Something made by an engine. ``container_id`` is the beginning of its container's id; "" for a shared thing.

    ``bridge``: of a shared thing, for ``lower_bridge``; "" is the table of all.
    """

    container_id: str
    what: str
    bridge: str = ""


class Part(Protocol):
    """A part of what is taken down, under way: a child process, or the kernel's own work."""

    def fileno(self) -> int:
        """Return a descriptor that polls readable when the next part may be asked for."""

    def finish(self, timeout_s: float) -> object:
        """Wait until then."""

    def kill(self) -> None:
        """Let go of it. Idempotent."""


Connections = Mapping[str, Sequence[Connection]]
"""By containers' ids; of each in order."""


class NetworkDriver(Protocol):
    """Makes networks and connects containers. What is made for one is named after it, or marked with it, so that any
    command can remove it at any time.
    """

    def default(self) -> Network:
        """Return the default network, with the subnets that it has at present, if its bridge is there."""

    def check(self, network: str, ports: Collection[Port]) -> None:
        """Refuse what cannot be had, before anything is made. ``network``: none, host, "container:" or "pod:" and an
        id, or any network's name. Raises UsageError, MissingTool.
        """

    def namespaces(self, network: str) -> list[dict[str, str]]:
        """Return the entries for ``linux.namespaces`` of config.json; none for another container's, or a pod's."""

    def reserve(self, ports: Collection[Port]) -> Reservation:
        """Take ports of the host. Raises PortTaken, UsageError (not an address of this host)."""

    def locked(self, *, wait: bool = True) -> AbstractContextManager[None]:
        """Keep every other engine of this host from changing its networks. Raises Conflict unless it may wait."""

    # -- networks ----------------------------------------------------------------------------------

    def plan(self, network: Network, others: Collection[Network], *, ipv4: bool = True, ipv6: bool = False) -> Network:
        """Return a new network as it is to be recorded: with what was asked for, and for the rest what is free.

        Its ``bridge``, its ``subnets`` and what is in those may be "" or missing; ``ipv4``, ``ipv6``: it is to
        have a subnet of that. ``others``: those on record. Nothing is made. Call it locked, and record the answer
        before letting go.
        Raises UsageError, Conflict (a subnet or a bridge's name is taken).
        """

    def raise_network(self, network: Network, others: Callable[[], Connections]) -> None:
        """Make the bridge of a network on record, and what the firewall has to know of it. Blocks. Idempotent.

        ``others``: as of ``connect``.

        Raises Conflict when another link has its subnet, or its bridge's name, RuntimeFailed; then ``lower_network``
        removes what there is of it.
        """

    def lower_network(self, network: Network) -> Iterator[Part]:
        """Take a network's bridge down, and with the last one what all share; not while containers are on it.

        Links that the kernel is about to delete are waited for.

        Children, errors: as of ``release``. Idempotent.
        """

    def lower_bridge(self, bridge: str) -> Iterator[Part]:
        """Do the same for a bridge by its name (see ``Leftover``)."""

    # -- containers --------------------------------------------------------------------------------

    def check_attachment(self, network: Network, asked: Attachment) -> None:
        """Refuse what a container cannot have on a network, whatever is taken. Raises UsageError."""

    def choose(
        self,
        network: Network,
        container_id: str,
        taken: Collection[str],
        asked: Attachment,
        *,
        interface: str = "eth0",
        claimed: Collection[Network] = (),
    ) -> Connection:
        """Return a place on a network, whose addresses are not in ``taken``; ports are the caller's to add.

        ``claimed``: the networks on record, whose subnets the default one does not take. Nothing is made. Call it
        locked, and record the answer before letting go. Raises UsageError (what is asked cannot be), Conflict (it is
        taken, or none is free).
        """

    def connect(
        self,
        container_id: str,
        connections: Sequence[Connection],
        netns: str,
        others: Callable[[], Connections],
        *,
        only: str = "",
    ) -> None:
        """Make the connections of a network namespace. Blocks. Raises RuntimeFailed, Conflict; then ``release`` removes
        what there is of them.

        ``netns``: its path, such as /proc/PID/ns/net.
        ``connections``: all that the container has, in order: by the first that is not internal it leads outside.
        ``others``: asked for those of all containers that run, where firewall rules of theirs have to be made again.
        ``only``: make the one of this interface; the others are there.
        """

    def announce(self, connections: Sequence[Connection], main_fd: int) -> None:
        """Tell what is on these networks of a container's addresses, unasked. Nothing where it has ended. Idempotent.

        ``main_fd``: a pidfd of its PID 1. Call it some milliseconds after ``connect``: before that the kernel forwards
        nothing that comes from the new links. Raises KernelError.
        """

    def disconnect(
        self, container_id: str, connection: Connection, left: Sequence[Connection], pid: int
    ) -> Iterator[Part]:
        """Take one connection of a container that runs away, ``left`` being those that it keeps. As ``release``."""

    def begin_drain(self, container_id: str, connections: Sequence[Connection], main_fd: int | None) -> Child | None:
        """Start closing a container to new connections; those under way live on. Idempotent. None: it is done.

        To its published ports, and, of TCP, to its own addresses, by which others on its networks reach it.
        ``main_fd``: a pidfd of its PID 1; None, or that of one that has ended: the ports alone. Raises KernelError.
        """

    def end(self, child: Child) -> str:
        """Reap a child of this driver; return "" when it has done its work, else the reason."""

    def close_ports(self, container_id: str) -> None:
        """Take the published ports of a container that has ended out of the firewall. Does not wait. Idempotent.

        What ``release`` does later then takes the kernel less. Raises Conflict, RuntimeFailed: it is left to that.
        """

    def forget_connections(self, container_id: str, addresses: Sequence[str]) -> None:
        """After ``close_ports``, have the kernel forget the connections that were forwarded to these addresses of it.

        Blocks for some milliseconds, in which the kernel looks at all connections; ``release`` need not do it then.
        Idempotent. Raises RuntimeFailed: it is left to that.
        """

    def release(
        self, container_id: str, addresses: Sequence[str] | None = None, *, ended_mono_s: float | None = None
    ) -> Iterator[Part]:
        """Remove all that was made for a container. What containers share stays.

        ``ended_mono_s``: when it was known to have ended (CLOCK_MONOTONIC). Nothing is made for it since, so that one
        look at the machine's links, later than that, may serve for many containers.
        ``addresses``: its own to which ports were forwarded: then the kernel forgets these connections, even where the
        rules are gone that said so. (): to none, so that nothing of it is in the firewall. None: that is not known.

        Each part is to be waited for before the next one is asked for, which raises RuntimeFailed when it failed.
        Raises Conflict, to be tried again a little later, while another engine changes networks. Idempotent.
        """

    # -- looking after them ------------------------------------------------------------------------

    def leftovers(self, networks: Collection[Network]) -> list[Leftover]:
        """Return what was made by this engine and is there, but for what belongs to these networks. Slow."""

    def missing(self, connections: Connections) -> list[str]:
        """Return what others have removed of what was made for these containers, by id. Slow.

        A container that has no link any more is about to end, and misses nothing.
        """

    def mend(self, connections: Connections) -> None:
        """Put back what ``missing`` names. Blocks. Idempotent. Raises RuntimeFailed."""


class Plugins(Struct, frozen=True):
    """The plugins that make one network, in their order: a parsed ``*.conflist``, or a ``*.conf`` as a list of one."""

    name: str
    version: str
    plugins: tuple[dict[str, Any], ...]
    has_check: bool = True


def publishes(plugin: dict[str, Any]) -> bool:
    """Whether a plugin forwards ports of the host (CONVENTIONS.md of CNI, "portMappings")."""
    capabilities = plugin.get("capabilities")
    return isinstance(capabilities, dict) and capabilities.get("portMappings") is True


class Joined(Struct, frozen=True, kw_only=True):
    """One container on a CNI network: what ADD is given, and what it has said (``result``; {}: it has not yet)."""

    container_id: str
    network: Plugins
    netns: str  # path of the network namespace
    interface: str
    ports: tuple[Port, ...] = ()
    args: dict[str, str] = {}  # CNI_ARGS
    result: dict[str, Any] = {}


class Place(Struct, frozen=True):
    """Where ADD has put a container: what its record says of it."""

    address: str = ""
    prefix: int = 0
    gateway: str = ""
    address6: str = ""
    prefix6: int = 0
    gateway6: str = ""
    mac: str = ""


class CniDriver(Protocol):
    """Has plugins of the host connect containers, and take back what they made."""

    def load(self, name: str) -> Plugins:
        """Return the network of this name. Raises NotFound, UsageError for a list that cannot be used, MissingTool."""

    def first(self) -> str:
        """Return the name of the first network, by the names of the files; "" where there is none."""

    def add(self, joined: Joined) -> Place:
        """Have the plugins bring a network namespace in. Blocks. What is kept is written before anything is made.

        Raises RuntimeFailed with a plugin's own words; then ``remove`` takes back what there is.
        """

    def check(self, container_id: str) -> list[str]:
        """Ask the plugins whether all they made is there; return what they miss. Blocks."""

    def remove(self, container_id: str, netns: str = "", interface: str = "") -> Iterator[Child]:
        """Have the plugins take back what ADD made, the last one first, and forget it. Idempotent.

        ``netns``: the path of the network namespace, where it is known to be there still, as after a start that failed.
        ``interface``: only this one of the container's.

        Each child is to be waited for before the next one is asked for. One that fails keeps none of the others from
        their work; then RuntimeFailed is raised at the end, and all is done once more by the next call.
        """

    def kept(self) -> list[str]:
        """Return the ids of all containers of which something is kept."""
