"""``bento rm``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bento.cli.context import Context, complain, print_names, say, says_so_itself
from bento.errors import BentoError, NotFound, StateCorrupt, UsageError
from bento.lazy import LazyModule
from bento.units import parse_seconds

if TYPE_CHECKING:
    from bento.cli import working
    from bento.serving import jobs
else:  # for -f alone
    working, jobs = LazyModule("bento.cli.working"), LazyModule("bento.serving.jobs")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add("-f", "--force", action="store_true", help="kill it first when it runs; no error for what is unknown")
    add("-t", "--time", metavar="S", help="with -f: stop it gracefully first, with this grace in seconds")
    add("-i", "--ignore", action="store_true", help="no error for what is unknown")
    add("-a", "--all", action="store_true", help="every container")
    add("-v", "--volumes", action="store_true", help="delete its anonymous volumes, too")
    add("container", nargs="*", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out; print each name. What -f has begun goes on when this process is ended."""
    if args.time is not None and not args.force:
        raise UsageError("rm: -t is for -f", hint="without -f nothing that runs is removed")
    grace_s = 0.0 if args.time is None else parse_seconds(args.time)
    unreadable: list[StateCorrupt] = []
    refs = _chosen(args, context, unreadable)
    for error in unreadable:
        complain(error)
    status = max((error.exit_code for error in unreadable), default=0)
    if args.force:
        task = jobs.Remove(refs=tuple(refs), volumes=args.volumes, grace_s=grace_s)
        return max(status, print_names(working.in_worker(context, task), len(refs), ignored=(NotFound.code,)))
    with context.engine() as engine:
        for ref in engine.dependants_first(refs):
            try:
                say(engine.remove(ref, volumes=args.volumes).name)
            except BentoError as error:
                if not (args.ignore and isinstance(error, NotFound)):
                    complain(error)
                    status = max(status, error.exit_code)
    return status


def _chosen(args: argparse.Namespace, context: Context, unreadable: list[StateCorrupt]) -> list[str]:
    """Return the containers to remove. Raises UsageError for none at all."""
    if args.all and args.container:
        raise UsageError("rm: names and --all exclude each other")
    if not args.all:
        if not args.container:
            raise UsageError("rm: no container named", hint="name some, or use --all")
        return list(args.container)
    with context.engine() as engine:  # closed again before the worker is forked
        found = engine.containers(all=True, on_unreadable=unreadable.append, on_elsewhere=says_so_itself)
        refs = [container.id for container in found]
    if args.force:
        refs += [error.record_id for error in unreadable]
        unreadable.clear()
    return refs
