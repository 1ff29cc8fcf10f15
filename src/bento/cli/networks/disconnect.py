"""``bento network disconnect``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, end_cleanly


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "-f", "--force", action="store_true", help="a container that is not on it, or not there, is no error"
    )
    parser.add_argument("network", help="name, id, or the beginning of an id")
    parser.add_argument("container", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out, silently."""
    end_cleanly()
    with context.engine() as engine:
        engine.disconnect_network(args.network, args.container, force=args.force)
    return 0
