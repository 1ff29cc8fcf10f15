"""``bento volume prune``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, say
from bento.cli.system.prune import ANONYMOUS_VOLUMES, is_agreed
from bento.docker.words import size_text

EVERY = "all volumes that no container has"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-a", "--all", action="store_true", help="those with names, too")
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")
    parser.add_argument("--filter", action="append", default=[], metavar="K=V", help="label or label!")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: print what was removed, and how much room that makes."""
    if not args.force and not is_agreed([EVERY if args.all else ANONYMOUS_VOLUMES]):
        return 1
    with context.engine() as engine:
        pruned = engine.prune_volumes(all=args.all, filters=args.filter)
    if pruned.names:
        say("Deleted Volumes:")
    for name in pruned.names:
        say(name)
    say(f"Total reclaimed space: {size_text(pruned.freed_bytes)}")
    return 0
