"""``bento finish-stop``: not for people; Bento runs it in a process of its own."""

from __future__ import annotations

import argparse

from bento.cli.context import Context
from bento.command import own_process


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("container_id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    own_process()
    with context.engine() as engine:
        engine.finish_stop(args.container_id)
    return 0
