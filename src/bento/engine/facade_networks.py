"""The engine as a library: the verbs for networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bento.lazy import LazyModule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bento.engine.base.drivers import Drivers
    from bento.engine.lifecycle import connecting
    from bento.engine.resources import networks
    from bento.model.disk import Pruned
    from bento.model.network import Attachment, Network, NetworkOptions
else:
    connecting = LazyModule("bento.engine.lifecycle.connecting")
    networks = LazyModule("bento.engine.resources.networks")


class NetworkVerbs:
    """What an engine can do with networks. One is named by its name, its id, or an unambiguous prefix of that.

    ``bridge``, ``host`` and ``none`` are always there.
    """

    drivers: Drivers

    def create_network(self, options: NetworkOptions) -> Network:
        """Make a network, and its bridge. Blocks; waits for a lock.

        Raises UsageError, Conflict (name, subnet or link is taken; no subnet is free), MissingTool, RuntimeFailed; then
        there is none.
        """
        return networks.create(self.drivers, options)

    def networks(self, *, filters: Iterable[str] = ()) -> list[Network]:
        """Return the networks, by name. ``bento.docker.network`` makes Docker's documents of them.

        Filters are Docker's: dangling, driver, id, label, name (a regular expression), scope, type. Raises UsageError.
        """
        return networks.list_all(self.drivers, filters)

    def inspect_network(self, ref: str) -> dict[str, Any]:
        """Return a network in Docker's words, and the containers that run on it. Raises NotFound, Conflict."""
        return networks.inspect(self.drivers, ref)

    def remove_network(self, ref: str) -> Network:
        """Delete a network and its bridge; return it. Blocks; waits for a lock.

        Raises NotFound; Conflict when containers have it, or it is always there; RuntimeFailed.
        """
        return networks.remove(self.drivers, ref)

    def prune_networks(self, *, filters: Iterable[str] = ()) -> Pruned:
        """Delete the networks that no container has. Raises UsageError (filter); others are in the result."""
        return networks.prune(self.drivers, filters=filters)

    def connect_network(self, ref: str, container: str, asked: Attachment | None = None) -> None:
        """Put a container, in any state, on one more network, at once where it runs. Blocks; waits for its lock.

        ``asked``: its addresses and aliases there; the name in it does not matter. Raises NotFound, UsageError,
        Conflict (it is on it already, the address is taken), WrongState while it is started or stopped, RuntimeFailed;
        then nothing has changed.
        """
        connecting.connect(self.drivers, ref, container, asked)

    def disconnect_network(self, ref: str, container: str, *, force: bool = False) -> None:
        """Take a container, in any state, off a network, at once where it runs. Blocks; waits for its lock.

        ``force``: one that is not on it, or not there, is no error. Raises NotFound, Conflict, WrongState while it is
        started or stopped, RuntimeFailed.
        """
        connecting.disconnect(self.drivers, ref, container, force=force)
