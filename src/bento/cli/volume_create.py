"""``bento volume create``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, say
from bento.cli.create_options import parse_label


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--label", action="append", default=[], metavar="K=V")
    parser.add_argument("name", nargs="?", default="", help="default: 64 digits of chance")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: print the volume's name."""
    labels = dict(map(parse_label, args.label))
    with context.engine() as engine:
        say(engine.create_volume(args.name, labels=labels).name)
    return 0
