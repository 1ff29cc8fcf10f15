"""``bento port``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, say
from bento.errors import NotFound
from bento.parse.ports import parse_port


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("container", help="name, id, or the beginning of an id")
    parser.add_argument(
        "port", nargs="?", metavar="PORT[/udp]", help="only where this port of the container is reached"
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: a line for each published port."""
    wanted = None if args.port is None else parse_port(args.port)
    with context.engine() as engine:
        ports = engine.ports(args.container)
    if wanted is None:
        for port in ports:
            say(f"{port.inside} -> {port.outside}")
        return 0
    found = [port.outside for port in ports if port.inside == wanted]
    if not found:
        raise NotFound(f"port {wanted} of container {args.container} is not published")
    for where in found:
        say(where)
    return 0
