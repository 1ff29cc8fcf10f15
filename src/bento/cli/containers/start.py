"""``bento start``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, each, each_quietly
from bento.cli.options import health as health_options
from bento.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "--restart-policy", action="store_true", help="those whose restart policy wants them to run, as after a boot"
    )
    health_options.configure_wait(parser)
    parser.add_argument("container", nargs="*", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out; print each name."""
    if bool(args.container) == args.restart_policy:
        raise UsageError("start: containers, or --restart-policy", hint="see bento start --help")
    waiting = health_options.Waiting(args)
    with context.engine() as engine:
        refs = [container.id for container in engine.to_be_started()] if args.restart_policy else args.container
        if not waiting.is_wanted:
            return each(refs, lambda ref: engine.start(ref).name)
        started: list[str] = []
        status = each_quietly(refs, lambda ref: started.append(engine.start(ref).id))
        return max(status, each(started, lambda ref: engine.wait_healthy(ref, waiting.left_s()).name))
