"""``bento shutdown``."""

from __future__ import annotations

import argparse

from bento.cli.containers.stop import stop_all
from bento.cli.context import Context, says_so_itself
from bento.engine.stop.request import StopOptions
from bento.errors import StateCorrupt
from bento.model.stop import AskedBy, OnPaused
from bento.units import parse_seconds


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--total", metavar="S", help="one budget in seconds for all of them together")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what happened, also without a terminal")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: the reports, on stdout")
    # What it shares with stop: one that ends meanwhile is no error, and a machine goes down only afterwards.
    parser.set_defaults(ignore=True, no_wait=False, strict=False)


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out in a worker that outlives this process. Paused containers are thawed into their shutdown."""
    total_s = None if args.total is None else parse_seconds(args.total, what="total", allow_no_limit=False)
    unreadable: list[StateCorrupt] = []
    with context.engine() as engine:  # closed again before the worker is forked
        found = engine.to_be_shut_down(on_unreadable=unreadable.append, on_elsewhere=says_so_itself)
        refs = [container.id for container in found]
    options = StopOptions(total_s=total_s, on_paused=OnPaused.THAW, asked_by=AskedBy.SHUTDOWN)
    return stop_all(context, refs, options, args, unreadable)
