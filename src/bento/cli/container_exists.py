"""``bento container exists``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context
from bento.errors import NotFound


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("container", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: exit status 0 or 1, and no word."""
    with context.engine() as engine:
        try:
            engine.get(args.container)
        except NotFound:
            return 1
    return 0
