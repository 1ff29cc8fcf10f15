"""``bento rm``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, each
from bento.cli.worker import Emit, Message, failed, in_worker, print_names
from bento.errors import BentoError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-f", "--force", action="store_true", help="kill it first when it runs")
    parser.add_argument("-v", "--volumes", action="store_true", help="delete its anonymous volumes, too")
    parser.add_argument("container", nargs="+", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out; print each name. What -f has begun goes on when this process is ended."""
    if not args.force:
        with context.engine() as engine:
            return each(
                engine.dependants_first(args.container), lambda ref: engine.remove(ref, volumes=args.volumes).name
            )
    return print_names(in_worker(lambda emit: _remove(context, args, emit)), len(args.container))


def _remove(context: Context, args: argparse.Namespace, emit: Emit) -> None:
    with context.engine() as engine:
        for ref in engine.dependants_first(args.container):
            try:
                emit(Message(kind="ended", name=engine.remove(ref, force=True, volumes=args.volumes).name))
            except BentoError as error:
                emit(failed(ref, error))
