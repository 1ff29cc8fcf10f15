"""``bento network create``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, end_cleanly, say
from bento.cli.options.refused import Refused
from bento.errors import UsageError
from bento.model.network import BRIDGE, NetworkOptions
from bento.parse.container import parse_label
from bento.parse.networks import parse_subnets

_SWARM = "a network of several machines, which Bento has not"
_NOT_HERE = {
    "--ingress": (False, _SWARM),
    "--config-only": (False, _SWARM),
    "--config-from": (True, _SWARM),
    "--scope": (True, "networks are of this machine: the scope is local"),
    "--ipam-driver": (True, "addresses are given by Bento itself"),
    "--ipam-opt": (True, "addresses are given by Bento itself"),
    "--aux-address": (True, "no address is left out of a subnet: use --ip-range"),
}
"""Docker's options that mean nothing here: whether there is a value, and what is said of them."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add("-d", "--driver", default=BRIDGE, metavar="D", help=f"{BRIDGE}, the only one there is")
    for option, metavar, about in (
        (
            "--subnet",
            "CIDR",
            "its addresses, such as 10.89.3.0/24; one of IPv4 and one of IPv6 (default: one is chosen)",
        ),
        ("--gateway", "IP", "the machine's address on it (default: the first one)"),
        ("--ip-range", "CIDR", "the part of the subnet that containers get addresses of"),
    ):
        add(option, action="append", default=[], metavar=metavar, help=about)
    add("--ipv4", action="store_true", default=True, help="IPv4 (default: true); false goes with --ipv6")
    add("--ipv6", action="store_true", help="IPv6 beside IPv4: without a --subnet of it one is chosen")
    add("--internal", action="store_true", help="nothing outside is reached from it, and no port of it is published")
    add("--attachable", action="store_true", help="containers can be connected to it later, as to each network here")
    add("--label", action="append", default=[], metavar="K=V", help="a label")
    add("-o", "--opt", action="append", default=[], metavar="K=V", help="mtu, or one of com.docker.network.bridge")
    for option, (has_value, why) in _NOT_HERE.items():
        add(option, action=Refused, why=why, nargs=None if has_value else 0)
    add("name", help="a name of letters, digits, '_', '.' and '-'")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: print the network's id."""
    if args.driver != BRIDGE:
        raise UsageError(
            f"no network driver {args.driver!r}", hint=f"use {BRIDGE}; --network host and none need no network created"
        )
    for text in args.opt:
        if "=" not in text:
            raise UsageError(f"bad option {text!r} of a network", hint="use KEY=VALUE, such as mtu=1400")
    options = NetworkOptions(
        name=args.name,
        subnets=parse_subnets(args.subnet, args.gateway, args.ip_range),
        ipv4=args.ipv4,
        ipv6=args.ipv6,
        internal=args.internal,
        attachable=args.attachable,
        labels=dict(map(parse_label, args.label)),
        options=dict(map(parse_label, args.opt)),
    )
    end_cleanly()
    with context.engine() as engine:
        say(engine.create_network(options).id)
    return 0
