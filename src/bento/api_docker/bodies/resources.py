"""The bodies of requests about networks and volumes (Docker's API 1.44)."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from bento.api_docker.bodies.containers import Endpoint, Map
from bento.errors import UsageError
from bento.model.network import BRIDGE, NetworkOptions
from bento.parse.networks import parse_subnets


class IpamPool(Struct, kw_only=True):
    """A subnet."""

    Subnet: str | None = None
    IPRange: str | None = None
    Gateway: str | None = None
    AuxiliaryAddresses: Map = None


class Ipam(Struct, kw_only=True):
    """The addresses of a network."""

    Driver: str | None = None
    Options: Map = None
    Config: list[IpamPool] | None = None


class NetworkCreate(Struct, kw_only=True):
    """``POST /networks/create``."""

    Name: str | None = None
    CheckDuplicate: bool | None = None
    Driver: str | None = None
    Scope: str | None = None
    Internal: bool | None = None
    Attachable: bool | None = None
    Ingress: bool | None = None
    ConfigOnly: bool | None = None
    ConfigFrom: dict[str, Any] | None = None
    IPAM: Ipam | None = None
    EnableIPv4: bool | None = None
    EnableIPv6: bool | None = None
    Options: Map = None
    Labels: Map = None


class Connect(Struct, kw_only=True):
    """``POST /networks/ID/connect``."""

    Container: str | None = None
    EndpointConfig: Endpoint | None = None


class Disconnect(Struct, kw_only=True):
    """``POST /networks/ID/disconnect``."""

    Container: str | None = None
    Force: bool | None = None


class VolumeCreate(Struct, kw_only=True):
    """``POST /volumes/create``."""

    Name: str | None = None
    Driver: str | None = None
    DriverOpts: Map = None
    Labels: Map = None
    ClusterVolumeSpec: dict[str, Any] | None = None


# What is so here anyway: clients send some of it with every network.
_DEFAULTS: Final = {
    "com.docker.network.bridge.default_bridge": ("false",),
    "com.docker.network.bridge.enable_icc": ("true",),
    "com.docker.network.bridge.enable_ip_masquerade": ("true",),
    "com.docker.network.bridge.host_binding_ipv4": ("0.0.0.0",),
}


def read_network(body: NetworkCreate) -> NetworkOptions:
    """Return what is asked of a new network. Raises UsageError."""
    if not body.Name:
        raise UsageError("a network needs a name", hint="give Name in the body")
    if (body.Driver or BRIDGE) != BRIDGE:
        raise UsageError(f"no network driver {body.Driver!r}", hint=f"use {BRIDGE}")
    is_elsewhere = body.Scope not in (None, "", "local")
    if is_elsewhere or body.Ingress or body.ConfigOnly or (body.ConfigFrom or {}).get("Network"):
        raise UsageError("networks of a swarm, and of other networks' configuration, are not supported")
    ipam = body.IPAM or Ipam()
    if (ipam.Driver or "default") != "default":
        raise UsageError(f"no IPAM driver {ipam.Driver!r}", hint="use default")
    pools = ipam.Config or []
    if any(pool.AuxiliaryAddresses for pool in pools):
        raise UsageError("AuxiliaryAddresses are not supported", hint="give an IPRange without them")
    return NetworkOptions(
        name=body.Name,
        subnets=parse_subnets(
            [pool.Subnet for pool in pools if pool.Subnet],
            [pool.Gateway for pool in pools if pool.Gateway],
            [pool.IPRange for pool in pools if pool.IPRange],
        ),
        ipv4=body.EnableIPv4 is not False,
        ipv6=bool(body.EnableIPv6),
        internal=bool(body.Internal),
        attachable=bool(body.Attachable),
        labels=body.Labels or {},
        options={key: value for key, value in (body.Options or {}).items() if value not in _DEFAULTS.get(key, ())},
    )


def check_volume(body: VolumeCreate) -> None:
    """Raise UsageError for what no volume here can be."""
    if (body.Driver or "local") != "local":
        raise UsageError(f"no volume driver {body.Driver!r}", hint="use local")
    if body.ClusterVolumeSpec:
        raise UsageError("volumes of a cluster are not supported")
