"""``bento pause`` and ``bento unpause``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, each


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("container", nargs="+", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out; print each name."""
    with context.engine() as engine:
        act = engine.pause if context.verb == "pause" else engine.unpause
        return each(args.container, lambda ref: act(ref).name)
