"""The options that ``stop`` and ``restart`` share."""

from __future__ import annotations

import argparse

from bento.cli import hook_options
from bento.engine.request import StopOptions
from bento.errors import UsageError
from bento.model.stop import OnDeaf, OnPaused, OnWrapper, Scope
from bento.stop import methods
from bento.units import parse_seconds, parse_signal


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "-t",
        "--time",
        "--timeout",
        metavar="S",
        help="grace in seconds; 0 kills now, -1 never (default 10, system containers 90)",
    )
    parser.add_argument("--force", action="store_true", help="kill at once, as -t 0 does; also what is paused")
    parser.add_argument("-s", "--signal", metavar="SIG", help="the stop signal, such as TERM, SIGQUIT, RTMIN+3")
    parser.add_argument("--stop-method", metavar="M", help=f"how PID 1 is asked: {', '.join(methods.NAMES)}")
    parser.add_argument("--stop-command", metavar="CMD", help="what is run inside (method exec)")
    parser.add_argument(
        "--deaf",
        choices=("idle", "end", "wait"),
        help="a PID 1 that does not receive the signal: end it at rest, end it, or wait",
    )
    parser.add_argument(
        "--start-window", metavar="S", default="10", help="for so long after its start a program may learn to hear"
    )
    parser.add_argument(
        "--scope", choices=("auto", "main"), help="main: the plain stop, which signals PID 1 alone and looks no further"
    )
    parser.add_argument(
        "--wrapper",
        choices=("hold", "continue"),
        help="a shell that only waits for the program: hold it, or let it go on",
    )
    parser.add_argument(
        "--exit-hold", metavar="S", help="hold PID 1 at its exit for the others at most so long (0: off)"
    )
    parser.add_argument(
        "--last-call", metavar="S", help="so long before the deadline signal what nothing can have told (0: off)"
    )
    parser.add_argument(
        "--last-call-all", action="store_true", help="then signal every process that Bento has not signalled"
    )
    parser.add_argument("--kill-timeout", metavar="S", default="30", help="give up so long after SIGKILL")
    hook_options.configure(parser)
    parser.add_argument("--drain", action="store_true", help="first close the published ports to new connections")
    parser.add_argument(
        "--paused", choices=("refuse", "thaw", "kill"), default="refuse", help="what to do with a paused container"
    )


def read(args: argparse.Namespace) -> StopOptions:
    """Return what was said. Raises UsageError."""
    grace_s = None if args.time is None else parse_seconds(args.time, what="grace")
    if getattr(args, "extend", False) and grace_s is None:
        raise UsageError("--extend needs a time", hint="such as: stop --extend -t 30")
    if args.force and grace_s not in (None, 0.0):
        raise UsageError("--force and -t exclude each other", hint="--force is -t 0: it leaves no grace")
    if args.force:
        grace_s = 0.0
    total = getattr(args, "total", None)
    return StopOptions(
        **hook_options.read(args),
        drain=args.drain,
        total_s=None if total is None else parse_seconds(total, what="total", allow_no_limit=False),
        grace_s=grace_s,
        signal=None if args.signal is None else parse_signal(args.signal),
        method=None if args.stop_method is None else methods.parse_method(args.stop_method),
        command=methods.parse_command(args.stop_command) or None,
        on_deaf=None if args.deaf is None else OnDeaf(args.deaf),
        scope=None if args.scope is None else Scope(args.scope),
        on_wrapper=None if args.wrapper is None else OnWrapper(args.wrapper),
        exit_hold_s=_seconds(args.exit_hold, "exit hold"),
        last_call_all=args.last_call_all,
        on_paused=OnPaused(args.paused),
        start_window_s=parse_seconds(args.start_window, what="start window", allow_no_limit=False),
        last_call_s=_seconds(args.last_call, "last call"),
        kill_timeout_s=parse_seconds(args.kill_timeout, what="kill timeout", allow_no_limit=False),
        extend=getattr(args, "extend", False),
    )


def _seconds(text: str | None, what: str) -> float | None:
    return None if text is None else parse_seconds(text, what=what, allow_no_limit=False)
