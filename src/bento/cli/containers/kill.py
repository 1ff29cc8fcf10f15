"""``bento kill``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, each
from bento.units import parse_signal


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-s", "--signal", default="KILL", metavar="SIG", help="what to send to PID 1 (default KILL)")
    parser.add_argument("container", nargs="+", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out; print each name."""
    number = parse_signal(args.signal)
    with context.engine() as engine:
        return each(args.container, lambda ref: engine.kill(ref, number).name)
