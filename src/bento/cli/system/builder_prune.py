"""``bento builder prune``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, say
from bento.cli.system.prune import BUILDS, is_agreed
from bento.docker.words import size_text


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")
    parser.add_argument("-a", "--all", action="store_true", help="the same: all of it goes in any case")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    if not args.force and not is_agreed([BUILDS]):
        return 1
    with context.engine() as engine:
        say(f"Total: {size_text(engine.prune_builder())}")
    return 0
