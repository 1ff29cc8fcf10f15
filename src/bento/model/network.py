"""Networks, what a container asks of them, its published ports, and its place on each bridge."""

from typing import Final

from msgspec import Struct

BRIDGE: Final = "bridge"
"""The default network, and the driver of all."""
CNI: Final = "cni:"
"""What the name of a network begins with that plugins of the host make."""
POD: Final = "pod:"
"""What the network, and a namespace, of a container begins with that are its pod's; behind it is the pod's id."""
OF_OTHERS: Final = ("container:", POD)
"""What the network of a container begins with that is another's: nothing is made for it."""
BUILTIN: Final = (BRIDGE, "host", "none")
"""Networks that are always there, and have no record."""

LOOPBACK6: Final = "::1"
"""The loopback of IPv6, from which the kernel forwards nothing."""

NAME_SERVER: Final = "127.0.0.11"
"""What answers a container, at port 53, where it has names: in its own network namespace; the same as Docker's."""


GATEWAY_MODE: Final = "com.docker.network.bridge.gateway_mode_ipv"
"""What the options begin with, before 4 or 6, that say how a network leads outside: by NAT, or routed."""
ROUTED: Final = "routed"


def builtin_id(name: str) -> str:
    """Return the id of such a network: its name in hexadecimal digits, which scripts may take for Docker's."""
    return f"be{name.encode().hex()}".ljust(64, "0")


class Subnet(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Addresses of one family that a network hands out."""

    subnet: str  # in CIDR form: "10.89.3.0/24", "fd00:6265::/64"
    gateway: str  # the bridge's own address, in it
    ip_range: str = ""  # in CIDR form: where addresses that were not asked for come from; "": all of it


class Network(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A network with a name, as it was asked for. What is on it is not kept: containers' records say it.

    ``subnets``: at most one of each family, IPv4 first. The default network is not on record, and has none before its
    bridge is made, which takes what is free then.
    """

    id: str  # 64 hexadecimal digits
    name: str
    created_unix_ns: int
    bridge: str  # the name of its link
    subnets: tuple[Subnet, ...] = ()
    internal: bool = False  # nothing outside is reached from it
    names: bool = True  # containers on it find each other by name
    attachable: bool = False  # it was said of it; containers can be connected to each
    mtu: int = 0  # bytes; 0: the kernel's
    options: dict[str, str] = {}  # as they were given
    labels: dict[str, str] = {}

    @property
    def routed(self) -> tuple[int, ...]:
        """The versions of IP by which containers are reached, and reach others, under their own addresses."""
        return tuple(version for version in (4, 6) if self.options.get(f"{GATEWAY_MODE}{version}") == ROUTED)


class NetworkOptions(Struct, frozen=True, kw_only=True):
    """What a caller says of a new network.

    ``subnets``: at most one of each family, whose ``gateway`` may be "": the first address. What is missing is chosen:
    one of IPv4, unless ``ipv4`` says no, and where ``ipv6`` says so one of IPv6. ``options``: those of ``-o``, in
    Docker's words.
    """

    name: str
    subnets: tuple[Subnet, ...] = ()
    ipv4: bool = True
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    labels: dict[str, str] = {}
    options: dict[str, str] = {}


class Attachment(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One network that a container is to be on, and what it asks for there. "" is: whatever is free.

    ``links``: as ``NAME:ALIAS``, names of other containers there that this one, and no other, finds by an alias, too.
    """

    network: str  # its name
    ipv4: str = ""
    ipv6: str = ""
    mac: str = ""  # as "02:be:0a:59:03:02"
    aliases: tuple[str, ...] = ()  # names beside the container's own, its id's first 12 digits, and its hostname
    links: tuple[str, ...] = ()


class Port(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A port of the container that is reached on the host.

    ``host_ip`` "": every IPv4 address of the host, and every IPv6 address for a container that has one; "0.0.0.0" and
    "::" are those of one family. ``host_port`` 0: a free one, chosen at each start; of a run, none of the host.
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
    def is_proxied(self) -> bool:
        """Whether a process passes on what comes to it: no rule of the kernel can."""
        return self.host_ip == LOOPBACK6

    @property
    def outside(self) -> str:
        """Where it is reached: ``0.0.0.0:8080``, ``[::]:8080``."""
        address = f"[{self.host_ip}]" if ":" in self.host_ip else self.host_ip or "0.0.0.0"
        return f"{address}:{self.host_port or ''}"


def is_opened(port: Port, routed: tuple[int, ...]) -> bool:
    """Whether a port is not forwarded, but opened, on a network that is routed for these versions of IP."""
    return port.host_ip in ("", "0.0.0.0", "::") and (6 if ":" in port.host_ip else 4) in routed


class Connection(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one run has of one network; recorded before any of it is made, so that all of it can be taken away."""

    network: str = BRIDGE  # its name
    network_id: str = ""
    bridge: str
    interface: str = "eth0"  # the container's own link on it
    address: str  # IPv4; "" and 0 without
    prefix: int  # bits
    gateway: str  # the bridge's own address
    mac: str
    address6: str = ""  # IPv6; "" and 0 without
    prefix6: int = 0
    gateway6: str = ""
    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    names: bool = False  # containers on it find each other by name
    internal: bool = False
    mtu: int = 0
    routed: tuple[int, ...] = ()  # as of the network
    ports: tuple[Port, ...] = ()  # with the host ports that were chosen

    def opens(self, port: Port) -> bool:
        """Whether a port is reached at the container's own address, and at none of the host's."""
        return is_opened(port, self.routed)

    @property
    def forwarded_to(self) -> tuple[str, ...]:
        """The addresses that published ports are forwarded to."""
        return tuple(filter(None, (self.address, self.address6))) if self.ports else ()
