"""The options of ``run`` and ``create`` that say how a container is reached."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from bento.cli.options.switches import Arguments
from bento.lazy import LazyModule
from bento.model.container import Ports

if TYPE_CHECKING:
    from bento.parse import networks, ports
else:  # no port, no parser of ports
    networks, ports = LazyModule("bento.parse.networks"), LazyModule("bento.parse.ports")


def configure(parser: Arguments) -> None:
    """Add the options."""
    add = parser.add_argument
    add(
        "--network",
        "--net",
        action="append",
        default=[],
        metavar="NETWORK",
        help="bridge (default); none: loopback only; host: the machine's; container:NAME: that of "
        "another one; or any of 'network ls', several with NAME:ip=A,ip6=A,mac=M,alias=N each",
    )
    add(
        "--network-alias",
        "--net-alias",
        action="append",
        default=[],
        metavar="NAME",
        help="a name more under which others on its network find it",
    )
    add("--ip", metavar="IP", help="its IPv4 address on its network")
    add("--ip6", metavar="IP", help="its IPv6 address on its network")
    add("--mac-address", metavar="MAC", help="the address of its link")
    add(
        "-p",
        "--publish",
        action="append",
        default=[],
        metavar="[IP:]HOST:CONTAINER[/udp]",
        help="forward a port of the host; without HOST: a free one",
    )
    add(
        "--expose",
        action="append",
        default=[],
        metavar="CONTAINER[/udp]",
        help="a port that the image does not name, for --publish-all",
    )
    add("-P", "--publish-all", action="store_true", help="forward free ports of the host to those exposed")
    add("--drain", action="store_true", help="a stop first refuses new connections")


def read(args: argparse.Namespace) -> Ports:
    """Return what was said of ports. Raises UsageError."""
    return Ports(
        published=tuple(port for text in args.publish for port in ports.parse_publish(text)),
        publish_all=args.publish_all,
        exposed=tuple(port for text in args.expose for port in ports.parse_expose(text)),
    )


def read_networks(args: argparse.Namespace) -> dict[str, Any]:
    """Return what was said of networks, as fields of CreateOptions. Raises UsageError."""
    addresses = {"ipv4": args.ip, "ipv6": args.ip6, "mac": args.mac_address}
    if not (args.network or args.network_alias) and all(text is None for text in addresses.values()):
        return {}
    network, attachments = networks.parse_networks(args.network, aliases=args.network_alias, **addresses)
    return {"network": network, "attachments": attachments}
