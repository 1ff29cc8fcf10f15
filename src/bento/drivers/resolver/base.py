"""What the engine needs of a resolver: names of containers, for containers."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from bento.model.container import ProcessIdentity


class Place(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a member is on one network.

    ``names``: its name first, which reverse look-ups are answered with, then aliases; upper and lower case are the
    same. Each is also known with ``.NETWORK`` behind it. ``addresses``: IPv4 and IPv6. ``subnets``: of the network; an
    address in them that no member has is never asked for elsewhere. ``links``: as ``NAME:ALIAS``, what this member,
    and no other, calls others there; an alias is looked for before a name.
    """

    network: str
    names: tuple[str, ...]
    addresses: tuple[str, ...]
    subnets: tuple[str, ...] = ()
    links: tuple[str, ...] = ()


class Member(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A container that runs, as the resolver knows it.

    ``process``: its PID 1, in whose network namespace it is answered; with the end of that it is forgotten.
    ``places``: it resolves what is on these networks; where two have the same name, the first one wins.
    ``servers``: addresses of those that are asked what no container is called; none: those of this host, as its
    /etc/resolv.conf names them at that time. ``is_cut_off``: none is asked, nor for it.
    """

    container_id: str
    process: ProcessIdentity
    places: tuple[Place, ...]
    servers: tuple[str, ...] = ()
    is_cut_off: bool = False


class ResolverDriver(Protocol):
    """One process for all members of a run root, which is there while one of them runs, and may be killed at any time.

    No call may come from a thread in a mount namespace of a container's: the process would keep that.
    """

    def put(self, member: Member) -> None:
        """Have a container that runs resolve names, and be known by its own, from now on. Idempotent.

        In the place of what was put for this container: so this is also for renames, for networks that it is connected
        to or disconnected from, and for its next run. Starts the process where there is none. Blocks until the process
        answers it. Nothing, when the container has ended meanwhile. Raises RuntimeFailed, StorageUnusable, KernelError,
        UsageError: it is in the network namespace of this host.
        """

    def drop(self, container_id: str) -> None:
        """Have a container's names forgotten while it runs. Idempotent. Starts no process. Raises RuntimeFailed."""

    def forget(self, container_id: str) -> None:
        """Delete what was put for a container that has ended: the process knows of that. Idempotent; never waits."""

    def resume(self) -> None:
        """Start the process again where it was killed and is needed. Idempotent. Raises as ``put``.

        Takes some tenths of a millisecond where there is nothing to do, and less where no container has a name.
        """

    def is_alive(self) -> bool:
        """Whether the process is there and answers."""

    def end(self) -> None:
        """End the process, and wait for that; what was put stays, for ``resume``. Idempotent. Raises RuntimeFailed."""

    def known(self) -> dict[str, Member]:
        """Return what was put and not forgotten since, by container id."""

    def leftovers(self) -> list[str]:
        """Return the ids of containers that were put and have ended, but were not forgotten since."""
