"""Published ports, and a container's place on its bridge."""

from __future__ import annotations

from msgspec import Struct


class Port(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A port of the container that is reached on the host.

    ``host_ip`` "": every IPv4 address of the host. ``host_port`` 0: a free one, chosen at each start.
    """

    container_port: int
    host_port: int = 0
    host_ip: str = ""
    protocol: str = "tcp"  # or "udp"

    @property
    def inside(self) -> str:
        """As Docker writes it: ``80/tcp``."""
        return f"{self.container_port}/{self.protocol}"

    @property
    def outside(self) -> str:
        """Where it is reached: ``0.0.0.0:8080``."""
        return f"{self.host_ip or '0.0.0.0'}:{self.host_port}"


class Connection(Struct, frozen=True, kw_only=True):
    """What one run has of the network; recorded before any of it is made, so that all of it can be taken away."""

    bridge: str
    address: str  # IPv4
    prefix: int  # bits
    gateway: str  # the bridge's own address
    mac: str
    ports: tuple[Port, ...] = ()  # with the host ports that were chosen

    @property
    def forwarded_to(self) -> str:
        """The address, if published ports are forwarded to it, else ""."""
        return self.address if self.ports else ""
