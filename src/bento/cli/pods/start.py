"""``bento pod start``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, each


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("pod", nargs="+", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out; print the name of each."""
    with context.engine() as engine:
        return each(args.pod, lambda ref: engine.start_pod(ref).name)
