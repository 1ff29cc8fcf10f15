"""``bento generate systemd``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, say
from bento.engine.systemd.generate import RESTARTS


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--restart", choices=RESTARTS, default=RESTARTS[1], help="by systemd (default on-failure)")
    parser.add_argument("container", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out; print the unit."""
    with context.engine() as engine:
        say(engine.generate_systemd(args.container, args.restart).removesuffix("\n"))
    return 0
