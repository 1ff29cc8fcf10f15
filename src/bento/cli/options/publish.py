"""The options of ``run`` and ``create`` that say how a container is reached."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bento.cli.options.switches import Arguments
from bento.lazy import LazyModule
from bento.model.container import Ports

if TYPE_CHECKING:
    from bento.parse import ports
else:  # no port, no parser of ports
    ports = LazyModule("bento.parse.ports")


def configure(parser: Arguments) -> None:
    """Add the options."""
    add = parser.add_argument
    add(
        "--network",
        "--net",
        default="",
        metavar="NETWORK",
        help="none: loopback only (default); bridge: a network of containers (default with -p); host: the machine's",
    )
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
    add("--drain", action="store_true", help="stop first closes the published ports to new connections")


def read(args: argparse.Namespace) -> Ports:
    """Return what was said of ports. Raises UsageError."""
    return Ports(
        published=tuple(port for text in args.publish for port in ports.parse_publish(text)),
        publish_all=args.publish_all,
        exposed=tuple(port for text in args.expose for port in ports.parse_expose(text)),
    )
