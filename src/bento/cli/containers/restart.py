"""``bento restart``."""

from __future__ import annotations

import argparse

from bento.cli import working
from bento.cli.context import Context, print_names
from bento.cli.options import stop as stop_options
from bento.serving.jobs import Restart


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    stop_options.configure(parser)
    parser.add_argument("container", nargs="+", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out in a worker that outlives this process; print each name."""
    task = Restart(refs=tuple(args.container), options=stop_options.read(args))
    return print_names(working.in_worker(context, task), len(args.container))
