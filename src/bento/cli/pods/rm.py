"""``bento pod rm``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, print_names
from bento.engine.base.worker import Emit, Message, failed, in_worker
from bento.errors import BentoError, NotFound, UsageError
from bento.units import parse_seconds


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add("-f", "--force", action="store_true", help="kill its containers first when they run; unknown ones are no error")
    add("-t", "--time", metavar="S", help="with -f: stop them gracefully first, with one grace in seconds")
    add("-i", "--ignore", action="store_true", help="no error for what is unknown")
    add("-a", "--all", action="store_true", help="every pod")
    add("pod", nargs="*", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out in a worker that outlives this process; print the name of each pod."""
    if args.time is not None and not args.force:
        raise UsageError("pod rm: -t is for -f", hint="without -f nothing that runs is removed")
    if args.all == bool(args.pod):
        raise UsageError("pod rm: name pods, or use --all", hint="one of the two")
    grace_s = 0.0 if args.time is None else parse_seconds(args.time)
    refs = list(dict.fromkeys(args.pod))
    if args.all:
        with context.engine() as engine:  # closed again before the worker is forked
            refs = [pod.id for pod in engine.pods()]
    messages = in_worker(lambda emit: _remove(context, refs, args.force, grace_s, emit))
    is_ignored = args.ignore or args.force or args.all
    return print_names(messages, len(refs), ignored=(NotFound.code,) if is_ignored else ())


def _remove(context: Context, refs: list[str], is_forced: bool, grace_s: float, emit: Emit) -> None:
    with context.engine() as engine:
        for ref in refs:
            try:
                emit(Message(kind="ended", name=engine.remove_pod(ref, force=is_forced, grace_s=grace_s).name))
            except BentoError as error:
                emit(failed(ref, error))
