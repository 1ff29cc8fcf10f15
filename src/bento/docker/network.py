"""A network: one element of ``network inspect``, a line of ``network ls``, and a container's place on it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from bento.docker.words import labels_text, time_text
from bento.model.container import Container
from bento.model.network import BRIDGE, CNI, Attachment, Connection, Network, Subnet
from bento.oci.etc import names_of
from bento.units import rfc3339, short_id

FIELDS: Final = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv4": "IPV4",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
}
"""What a template is given of each network, and the header of each in a table."""

SCOPE: Final = "local"
_NO_TIME: Final = "0001-01-01 00:00:00 +0000 UTC"  # Go's zero
_DRIVERS: Final = {"host": "host", "none": "null"}


def driver_of(name: str) -> str:
    """Return what Docker calls the driver of a network."""
    return _DRIVERS.get(name, BRIDGE)


def fields(network: Network, *, is_whole: bool) -> dict[str, object]:
    """Return what a template is given. ``is_whole``: the id is not cut short."""
    return {
        "ID": network.id if is_whole else short_id(network.id),
        "Name": network.name,
        "Driver": driver_of(network.name),
        "Scope": SCOPE,
        "IPv4": _bool(_has_ipv4(network.subnets)),
        "IPv6": _bool(_has_ipv6(network.subnets)),
        "Internal": _bool(network.internal),
        "Labels": labels_text(network.labels),
        "CreatedAt": time_text(network.created_unix_ns) if network.created_unix_ns else _NO_TIME,
    }


def describe(network: Network, on_it: Iterable[tuple[Container, Connection]] = ()) -> dict[str, Any]:
    """Return what Docker says of a network, and the containers that run ``on_it``."""
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": rfc3339(network.created_unix_ns),
        "Scope": SCOPE,
        "Driver": driver_of(network.name),
        "EnableIPv4": _has_ipv4(network.subnets),
        "EnableIPv6": _has_ipv6(network.subnets),
        "IPAM": {"Driver": "default", "Options": {}, "Config": [_config(subnet) for subnet in network.subnets]},
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {container.id: _member(container, connection) for container, connection in on_it},
        "Options": network.options,
        "Labels": network.labels,
    }


def _config(subnet: Subnet) -> dict[str, str]:
    asked = {"IPRange": subnet.ip_range} if subnet.ip_range else {}
    return {"Subnet": subnet.subnet, **asked, "Gateway": subnet.gateway}


def _member(container: Container, connection: Connection) -> dict[str, str]:
    return {
        "Name": container.name,
        "EndpointID": _endpoint_id(container, connection),
        "MacAddress": connection.mac,
        "IPv4Address": _with_prefix(connection.address, connection.prefix),
        "IPv6Address": _with_prefix(connection.address6, connection.prefix6),
    }


def endpoints(container: Container, ids: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return ``NetworkSettings.Networks``: what a container has asked of each network, and has there while it runs.

    ``ids``: of networks, by name.
    """
    run = container.run if container.status.is_live else None
    connections = {connection.network: connection for connection in run.connections} if run else {}
    name = container.spec.network
    if name in _DRIVERS or name.startswith(CNI):
        return {name: _endpoint(container, Attachment(network=name), connections.get(name), ids.get(name, ""))}
    return {
        asked.network: _endpoint(container, asked, connections.get(asked.network), ids.get(asked.network, ""))
        for asked in container.spec.networks
    }


def _endpoint(
    container: Container, asked: Attachment, connection: Connection | None, network_id: str
) -> dict[str, Any]:
    addresses = {"IPv4Address": asked.ipv4, "IPv6Address": asked.ipv6}
    is_one = asked.network not in (BRIDGE, *_DRIVERS) and not asked.network.startswith(CNI)
    has_names = connection.names if connection else is_one
    return {
        "IPAMConfig": {key: value for key, value in addresses.items() if value} or None,
        "Links": list(asked.links) or None,
        "Aliases": list(asked.aliases) or None,
        "MacAddress": connection.mac if connection else asked.mac,
        "DriverOpts": None,
        "NetworkID": connection.network_id if connection else network_id,
        "EndpointID": _endpoint_id(container, connection) if connection else "",
        "Gateway": connection.gateway if connection else "",
        "IPAddress": connection.address if connection else "",
        "IPPrefixLen": connection.prefix if connection else 0,
        "IPv6Gateway": connection.gateway6 if connection else "",
        "GlobalIPv6Address": connection.address6 if connection else "",
        "GlobalIPv6PrefixLen": connection.prefix6 if connection else 0,
        "DNSNames": list(names_of(container, asked.aliases)) if has_names else None,
    }


def _endpoint_id(container: Container, connection: Connection) -> str:
    """One is as good as another, as long as no two are the same."""
    return container.id[:32] + (connection.network_id or container.id)[:32]


def _with_prefix(address: str, prefix: int) -> str:
    return f"{address}/{prefix}" if address else ""


def _has_ipv6(subnets: Iterable[Subnet]) -> bool:
    return any(":" in subnet.subnet for subnet in subnets)


def _has_ipv4(subnets: Collection[Subnet]) -> bool:
    """The default network has one, also before it is chosen, and those without a bridge say so, too."""
    return not subnets or any(":" not in subnet.subnet for subnet in subnets)


def _bool(value: bool) -> str:
    return "true" if value else "false"
