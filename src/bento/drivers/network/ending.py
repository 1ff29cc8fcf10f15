"""The end of a container's connections: its links, its ports, and what the kernel remembers of them."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from bento.drivers.network import acts
from bento.drivers.network.acts import network_errors
from bento.drivers.network.vanishing import Vanishing
from bento.kernel.net import ports
from bento.lazy import LazyModule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bento import command
    from bento.command import Child
    from bento.drivers.network import forwarding, looking, rules, walls
    from bento.drivers.network.names import Names
    from bento.drivers.network.walls import Walls
else:  # what has no published port has nothing in the firewall
    command = LazyModule("bento.command")
    forwarding, looking, rules, walls = (
        LazyModule(f"bento.drivers.network.{name}") for name in ("forwarding", "looking", "rules", "walls")
    )


class _Closing:
    """What was done of a container's end before its links go."""

    def __init__(self) -> None:
        self.walls: Walls | None = None
        self.has_forgotten = False


class Ending:
    """Takes down what one engine has made for containers."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._closing: dict[str, _Closing] = {}  # by containers' ids
        self._listed: tuple[float, list[str]] = (0.0, [])  # all links, and since when that may have changed

    def close_ports(self, container_id: str) -> None:
        """See ``NetworkDriver.close_ports``. The socket stays open until ``release``: see ``nftables.change``."""
        with network_errors():
            closing = self._closing.setdefault(container_id, _Closing())
            closing.walls = closing.walls or walls.Walls(self._names.table)
            closing.walls.dismiss(rules.owner_of(container_id))

    def forget_connections(self, container_id: str, addresses: Sequence[str]) -> None:
        """See ``NetworkDriver.forget_connections``."""
        closing = self._closing.get(container_id)
        if closing is not None and closing.walls is not None:
            with network_errors():
                closing.walls.forget_flows_to((), addresses)
            closing.has_forgotten = True

    def release(
        self, container_id: str, addresses: Sequence[str] | None, ended_mono_s: float | None = None
    ) -> Iterator[Child | Vanishing]:
        """See ``NetworkDriver.release``. The kernel deletes links by itself when the last process inside has ended."""
        prefix = self._names.links_of(container_id)
        vanishing = Vanishing(name for name in self._links(ended_mono_s) if name.startswith(prefix))
        yield from vanishing.wait()
        yield from self.remove(container_id, vanishing.names, (), addresses)

    def _links(self, since_mono_s: float | None) -> list[str]:
        """Return the names of all links, as listed at this time or later; None: now. Of hundreds that takes a while."""
        listed_mono_s, names = self._listed
        if since_mono_s is None or listed_mono_s < since_mono_s:
            listed_mono_s = time.monotonic()  # before it is looked
            names = ports.interfaces()
            self._listed = listed_mono_s, names
        return names

    def remove(
        self, container_id: str, own: Sequence[str], addresses: Sequence[str], forwarded: Sequence[str] | None
    ) -> Iterator[Child]:
        """Remove links of a container, and its elements: those of ``addresses``, or all."""
        starts: list[Callable[[], Child]] = []
        if own:
            starts.append(partial(command.spawn, [str(acts.ip()), "link", "del", *acts.together(own)]))
        closing = self._closing.pop(container_id, None) or _Closing()
        if forwarded is not None and not forwarded and closing.walls is None:  # it has nothing there
            yield from acts.meanwhile(starts, lambda: None)
            return
        with network_errors():
            opened = closing.walls or walls.Walls(self._names.table)
        known = forwarded or ()
        with opened:  # to the end: to close it earlier would be to wait
            yield from acts.meanwhile(starts, lambda: self._dismiss(opened, closing, container_id, addresses, known))

    def _dismiss(
        self, opened: Walls, closing: _Closing, container_id: str, addresses: Sequence[str], forwarded: Sequence[str]
    ) -> None:
        mine, left = opened.dismiss(rules.owner_of(container_id), addresses)
        opened.forget_flows_to(mine, () if closing.has_forgotten else forwarded)
        routed = looking.loopback_routed(opened, mine, forwarded)
        if routed and not routed <= looking.loopback_reached(opened, left):
            with acts.locked(wait=False):  # has one been published meanwhile?
                for bridge in routed - looking.loopback_reached(opened, opened.elements()):
                    forwarding.route_loopback(bridge, is_wanted=False)
