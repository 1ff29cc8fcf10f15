"""``bento image prune``."""

from __future__ import annotations

import argparse

from bento.cli import pruning
from bento.cli.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-a", "--all", action="store_true", help="those with names, too, unless a container needs them")
    pruning.configure(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    return pruning.run(
        args,
        context,
        [images_going(is_all=args.all)],
        lambda engine, filters: engine.prune_images(all=args.all, filters=filters),
    )


def images_going(*, is_all: bool) -> str:
    """Return which images will go, for the question."""
    return "all images that no container was made from" if is_all else "all images that have lost their names"
