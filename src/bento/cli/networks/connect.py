"""``bento network connect``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, end_cleanly
from bento.cli.options.refused import Refused
from bento.model.network import Attachment
from bento.parse.networks import parse_alias, parse_ipv4, parse_ipv6, parse_mac


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add("--alias", action="append", default=[], metavar="NAME", help="a name more under which others there find it")
    add("--ip", metavar="IP", help="its IPv4 address there")
    add("--ip6", metavar="IP", help="its IPv6 address there")
    add("--mac-address", metavar="MAC", help="the address of its link there")
    for option, why, hint in (
        ("--link", "there are no links", "containers on a network find each other by name; use --alias"),
        ("--link-local-ip", "the kernel gives these addresses", "omit it"),
        ("--driver-opt", "the driver has no options of single containers", "omit it"),
        ("--gw-priority", "the first network that is not internal has the way out", "omit it"),
    ):
        add(option, action=Refused, why=why, hint=hint)
    add("network", help="name, id, or the beginning of an id")
    add("container", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out, silently."""
    asked = Attachment(
        network=args.network,
        ipv4=parse_ipv4(args.ip, "--ip") if args.ip is not None else "",
        ipv6=parse_ipv6(args.ip6, "--ip6") if args.ip6 is not None else "",
        mac=parse_mac(args.mac_address) if args.mac_address is not None else "",
        aliases=tuple(map(parse_alias, args.alias)),
    )
    end_cleanly()
    with context.engine() as engine:
        engine.connect_network(args.network, args.container, asked)
    return 0
