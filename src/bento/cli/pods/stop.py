"""``bento pod stop``."""

from __future__ import annotations

import argparse
import sys

from bento.cli.containers.stop import describe
from bento.cli.context import Context, print_names, tell_person
from bento.engine.base.worker import Emit, Message, failed, in_worker, notice
from bento.errors import NotFound
from bento.units import parse_seconds


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add(
        "-t",
        "--time",
        metavar="S",
        help="one grace in seconds for all containers of a pod; 0 kills, -1 waits (default: each has its own)",
    )
    add("-i", "--ignore", action="store_true", help="no error for what is unknown")
    add("-v", "--verbose", action="store_true", help="say what happened, also without a terminal")
    add("pod", nargs="+", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out in a worker that outlives this process; print the name of each pod."""
    grace_s = None if args.time is None else parse_seconds(args.time)
    refs = list(dict.fromkeys(args.pod))
    is_told = args.verbose or sys.stderr.isatty()
    messages = in_worker(lambda emit: _stop(context, refs, grace_s, is_told, emit))
    try:
        return print_names(messages, len(refs), ignored=(NotFound.code,) if args.ignore else ())
    except KeyboardInterrupt:
        tell_person("bento: the stop goes on by itself")
        return 130


def _stop(context: Context, refs: list[str], grace_s: float | None, is_told: bool, emit: Emit) -> None:
    with context.engine() as engine:
        for pod in engine.stop_pods(refs, grace_s):
            for outcome in pod.outcomes:
                if outcome.error is not None and outcome.error is not pod.error:
                    emit(notice(str(outcome.error)))
                elif outcome.report is not None and is_told:
                    emit(notice(describe(outcome.name, outcome.report)))
            emit(Message(kind="ended", name=pod.name) if pod.error is None else failed(pod.name, pod.error))
