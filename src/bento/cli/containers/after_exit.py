"""``bento after-exit``: not for people; Bento runs it in a process of its own."""

from __future__ import annotations

import argparse
import os

from bento.cli.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("container_id")
    parser.add_argument("run", type=int)


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out in the background: the monitor waits for us, and what we do waits for the monitor."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # the monitor's, such as the ports that it keeps for the last run
    if os.fork() != 0:
        return 0
    os.setsid()
    with context.engine() as engine:
        engine.after_exit(args.container_id, args.run)
    return 0
