"""``bento restart``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, print_names
from bento.cli.options import stop as stop_options
from bento.engine.base.worker import Emit, in_worker, report_each
from bento.engine.stop.request import StopOptions


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    stop_options.configure(parser)
    parser.add_argument("container", nargs="+", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out in a worker that outlives this process; print each name."""
    options = stop_options.read(args)
    return print_names(in_worker(lambda emit: _restart(context, args.container, options, emit)), len(args.container))


def _restart(context: Context, refs: list[str], options: StopOptions, emit: Emit) -> None:
    with context.engine() as engine:
        report_each(refs, lambda ref: engine.restart(ref, options), emit)
