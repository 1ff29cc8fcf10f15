"""``bento network prune``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, complain, say
from bento.cli.system.prune import UNUSED_NETWORKS, is_agreed


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")
    parser.add_argument(
        "--filter", action="append", default=[], metavar="K=V", help="only those: label, label!, until; all must fit"
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: print what was removed."""
    if not args.force and not is_agreed([UNUSED_NETWORKS]):
        return 1
    with context.engine() as engine:
        pruned = engine.prune_networks(filters=args.filter)
    for error in pruned.errors:
        complain(error)
    if pruned.networks:
        say("Deleted Networks:")
    for name in pruned.networks:
        say(name)
    return max((error.exit_code for error in pruned.errors), default=0)
