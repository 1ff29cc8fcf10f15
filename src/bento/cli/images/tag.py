"""``bento tag``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("image", help="name, id, or the beginning of an id")
    parser.add_argument("name", nargs="+", help="its new name: [REGISTRY/]NAME[:TAG]")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out; prints nothing, as Docker does."""
    with context.engine() as engine:
        for name in args.name:
            engine.tag_image(args.image, name)
    return 0
