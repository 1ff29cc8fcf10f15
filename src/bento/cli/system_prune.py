"""``bento system prune``, and ``bento prune``, which is the same."""

from __future__ import annotations

import argparse

from bento.cli import image_prune, pruning
from bento.cli.container_prune import CONTAINERS
from bento.cli.context import Context
from bento.cli.volume_prune import ANONYMOUS


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    image_prune.configure(parser)
    parser.add_argument("--volumes", action="store_true", help="the anonymous volumes that no container has, too")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    return pruning.run(
        args,
        context,
        [CONTAINERS, image_prune.images_going(is_all=args.all), *([ANONYMOUS] if args.volumes else [])],
        lambda engine, filters: engine.prune(all=args.all, volumes=args.volumes, filters=filters),
    )
