"""``bento volume ls``."""

from __future__ import annotations

import argparse

import msgspec

from bento.cli.context import Context, say
from bento.cli.render import table
from bento.engine.volumes import DRIVER


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-q", "--quiet", action="store_true", help="only names")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument(
        "-f", "--filter", action="append", default=[], metavar="K=V", help="dangling, driver, label, label! or name"
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    with context.engine() as engine:
        volumes = engine.volumes(filters=args.filter)
        described = [engine.describe_volume(volume) for volume in volumes] if args.format == "json" else []
    if args.quiet:
        for volume in volumes:
            say(volume.name)
    elif args.format == "json":
        say(msgspec.json.format(msgspec.json.encode(described)).decode())
    else:
        say(table(("DRIVER", "VOLUME NAME"), [(DRIVER, volume.name) for volume in volumes]))
    return 0
