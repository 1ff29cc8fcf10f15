"""The words for ip(8) and nft(8) that make and unmake a connection. Pure.

A container has an nftables table of its own. Only the first packet of a connection passes chains of type nat: so
emptying them closes the ports to new connections, and those under way go on by the kernel's connection tracking.
"""

from __future__ import annotations

from bento.model.network import Connection, Port


def bridge_up(connection: Connection) -> str:
    """Lines for ``ip -batch``: the bridge. Its MAC is fixed, lest it change with its links and caches go stale."""
    bridge, gateway = connection.bridge, connection.gateway
    return (
        f"link add {bridge} address {mac_of(gateway)} type bridge\n"
        f"addr add {gateway}/{connection.prefix} dev {bridge}\n"
        f"link set {bridge} up\n"
    )


def link_up(connection: Connection, link: str, pid: int) -> str:
    """Lines for ``ip -batch`` on the host: a pair of links, one end of which is the container's."""
    return (
        f"link add {link} type veth peer name eth0 address {connection.mac} netns {pid}\n"
        f"link set {link} master {connection.bridge} up\n"
    )


def inside_up(connection: Connection) -> str:
    """Lines for ``ip -batch`` in the container's namespace."""
    return (
        "link set lo up\n"
        f"addr add {connection.address}/{connection.prefix} dev eth0\n"
        "link set eth0 up\n"
        f"route add default via {connection.gateway}\n"
    )


def table(name: str, connection: Connection, subnet: str) -> str:
    """The container's table: its ports, its way out, and its way to its own published ports.

    ``guard``: the bridge may carry packets to 127.0.0.1 (route_localnet), from the host only.
    """
    forward = "".join(
        f"    {_match(port)} dnat to {connection.address}:{port.container_port}\n" for port in _sorted(connection)
    )
    bridge, address = connection.bridge, connection.address
    return f"""table ip {name} {{
  chain guard {{
    type filter hook prerouting priority raw
    iifname "{bridge}" ip daddr 127.0.0.0/8 drop
  }}
  chain ports {{
    type nat hook prerouting priority dstnat
{forward}  }}
  chain local {{
    type nat hook output priority -100
{forward}  }}
  chain out {{
    type nat hook postrouting priority srcnat
    ip saddr {address} oifname != "{bridge}" masquerade
    oifname "{bridge}" ip daddr {address} ct status dnat ip saddr {{ 127.0.0.0/8, {subnet} }} masquerade
  }}
}}
"""


def drained(name: str, connection: Connection) -> str:
    """Close the published ports to new connections: forward no more of them, and refuse them at once."""
    refusals = "".join(
        f"add rule ip {name} closed {_match(port)} reject{' with tcp reset' if port.protocol == 'tcp' else ''}\n"
        for port in _sorted(connection)
    )
    return f"""flush chain ip {name} ports
flush chain ip {name} local
add chain ip {name} closed {{ type filter hook input priority filter; }}
flush chain ip {name} closed
{refusals}"""


def gone(name: str) -> str:
    """Delete the table, be it there or not."""
    return f"add table ip {name}\ndelete table ip {name}\n"


def mac_of(address: str) -> str:
    """A MAC made of the address: who gets the address next is reached by what others remember."""
    return "02:be:" + ":".join(f"{int(part):02x}" for part in address.split("."))


def _sorted(connection: Connection) -> list[Port]:
    """Ports of one address before those of all addresses."""
    return sorted(connection.ports, key=lambda port: not port.host_ip)


def _match(port: Port) -> str:
    where = f"ip daddr {port.host_ip}" if port.host_ip not in ("", "0.0.0.0") else "fib daddr type local"
    return f"{where} {port.protocol} dport {port.host_port}"
