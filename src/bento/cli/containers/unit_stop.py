"""``bento unit-stop``: not for people; systemd runs it when it stops the unit of a container."""

from __future__ import annotations

import argparse

from bento.cli.containers.stop import stop_all
from bento.cli.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("container_id")
    parser.add_argument("run", type=int)
    # What it shares with stop. Its lines are in the journal.
    parser.set_defaults(ignore=True, no_wait=False, strict=False, verbose=True, format="text")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out in a worker that outlives this process."""
    with context.engine() as engine:  # closed again before the worker is forked
        wanted = engine.unit_stop(args.container_id, args.run)
    return stop_all(context, list(wanted.container_ids), wanted.options, args, []) if wanted.container_ids else 0
