"""A container on a CNI network (``--network cni:NAME``): plugins of the host make what Bento makes for its own.

They know only what they were told, so that is kept by the driver below the root, and their end of it is done by every
command that takes a container's connections down, also after a crash or a reboot.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento.drivers.network.base import Joined, Leftover, publishes
from bento.errors import NotFound, StateCorrupt, UsageError
from bento.model.container import Status
from bento.model.network import CNI, Connection, Port
from bento.oci import etc

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.container import Container

INTERFACE = "eth0"


def check(drivers: Drivers, network: str, ports: tuple[Port, ...], *, drain: bool) -> None:
    """Refuse what cannot be had. Raises NotFound, UsageError, MissingTool."""
    plugins = drivers.cni.load(network.removeprefix(CNI))
    if ports and not any(map(publishes, plugins.plugins)):
        raise UsageError(
            f"CNI network {plugins.name} publishes no ports", hint='no plugin of it has the capability "portMappings"'
        )
    if any(port.is_proxied for port in ports):
        raise UsageError(
            f"no port is published on [::1] on network {network}, whose ports plugins publish", hint="use 127.0.0.1"
        )
    if drain:
        raise UsageError(f"--drain does not go with --network {network}, whose ports plugins publish", hint="omit it")


def connect(drivers: Drivers, container: Container, pid: int) -> None:
    """Have the plugins bring the network namespace of this process in, and record what they say. Blocks.

    Raises NotFound, UsageError, MissingTool, RuntimeFailed.
    """
    connections = container.run.connections if container.run else ()
    made = join(drivers, container.id, connections[0], f"/proc/{pid}/ns/net")
    _name(drivers, container, [one for one in (made.address, made.address6) if one])
    drivers.store.modify(
        container.id, lambda c: replace(c, run=replace(c.run, connections=(made,))) if c.run is not None else c
    )


def join(
    drivers: Drivers, container_id: str, planned: Connection, netns: str, args: dict[str, str] | None = None
) -> Connection:
    """Have the plugins bring a network namespace in, by its path; return the connection with what they say. Blocks.

    ``container_id``: or a pod's. ``args``: CNI_ARGS. Raises NotFound, UsageError, MissingTool, RuntimeFailed.
    """
    joined = Joined(
        container_id=container_id,
        network=drivers.cni.load(planned.network.removeprefix(CNI)),
        netns=netns,
        interface=INTERFACE,
        ports=planned.ports,
        args=args or {},
    )
    place = drivers.cni.add(joined)
    return replace(
        planned,
        address=place.address,
        prefix=place.prefix,
        gateway=place.gateway,
        address6=place.address6,
        prefix6=place.prefix6,
        gateway6=place.gateway6,
        mac=place.mac,
    )


def _name(drivers: Drivers, container: Container, addresses: list[str]) -> None:
    """Put its addresses beside its name in /etc/hosts, which was written before they were known."""
    path, name = drivers.storage.bundle(container.id) / "hosts", etc.hostname(container)
    text = path.read_text(encoding="utf-8")
    named = "".join(f"{address}\t{name}\n" for address in addresses)
    path.write_text(text.replace(f"127.0.0.1\t{name}\n", named or f"127.0.0.1\t{name}\n", 1), encoding="utf-8")


def planned(network: str, ports: tuple[Port, ...]) -> Connection:
    """Return what is recorded before the plugins are asked: no address is known yet."""
    return Connection(
        network=network, bridge="", interface=INTERFACE, address="", prefix=0, gateway="", mac="", ports=ports
    )


def leftovers(drivers: Drivers) -> list[Leftover]:
    """Return what plugins have made and have not taken back, of containers that run, too."""
    return [Leftover(container_id, "what CNI plugins have made") for container_id in drivers.cni.kept()]


def missing(drivers: Drivers) -> list[str]:
    """Return what plugins miss, asked for it, of what they have made for containers that run. Slow."""
    found = []
    for container_id in drivers.cni.kept():
        name = _user(drivers, container_id)
        if name:
            found += [f"of the network of {name}: {what}" for what in drivers.cni.check(container_id)]
    return found


def _user(drivers: Drivers, container_id: str) -> str:
    """Return the name of a container that runs, or of a pod that is ready; "": it does not use its network."""
    with suppress(NotFound, StateCorrupt):  # what is left of it is another finding
        container = drivers.store.get(container_id)
        return container.name if container.status in (Status.RUNNING, Status.PAUSED) else ""
    with suppress(NotFound, StateCorrupt):
        pod = drivers.store.get_pod(container_id)
        return f"pod {pod.name}" if pod.is_ready else ""
    return ""
