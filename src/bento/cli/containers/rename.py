"""``bento rename``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("container", help="name, id, or the beginning of an id")
    parser.add_argument("name", help="its new name")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out; silent, as Docker is."""
    with context.engine() as engine:
        engine.rename(args.container, args.name)
    return 0
