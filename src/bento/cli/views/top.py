"""``bento top``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, say
from bento.docker import top


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("container", help="name, id, or the beginning of an id")
    options = parser.add_argument("ps_options", nargs=argparse.REMAINDER, help="options of ps (default -ef)")
    options.required = False


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: a line for each process."""
    with context.engine() as engine:
        found = engine.top(args.container, " ".join(args.ps_options).split())  # also of several options in one word
    for line in top.lines(found):
        say(line)
    return 0
