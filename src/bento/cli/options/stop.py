"""The options that ``stop`` and ``restart`` share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bento.cli.options import hooks as hook_options
from bento.cli.options import rules as rule_options
from bento.engine.stop.request import StopOptions
from bento.errors import UsageError
from bento.lazy import LazyModule
from bento.model.stop import OnPaused, SignalFrom
from bento.stop import methods
from bento.units import parse_seconds, parse_signal

if TYPE_CHECKING:
    from bento.parse import stop as words
else:  # most stops name neither a method nor a command
    words = LazyModule("bento.parse.stop")


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
    about = "the stop signal, such as TERM, SIGQUIT, RTMIN+3; auto: what the program asks for, where that is known"
    parser.add_argument("-s", "--signal", metavar="SIG", help=about)
    parser.add_argument("--stop-method", metavar="M", help=f"how PID 1 is asked: {', '.join(methods.NAMES)}")
    parser.add_argument("--stop-command", metavar="CMD", help="what is run inside (method exec)")
    rule_options.configure(parser)
    parser.add_argument("--kill-timeout", metavar="S", default="30", help="give up this many seconds after SIGKILL")
    hook_options.configure(parser)
    parser.add_argument("--drain", action="store_true", help="first refuse new connections")
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
        **rule_options.read(args),
        signal_from=rule_options.signal_from(args.signal),
        drain=args.drain,
        total_s=None if total is None else parse_seconds(total, what="total", allow_no_limit=False),
        grace_s=grace_s,
        signal=None if args.signal in (None, SignalFrom.AUTO.value) else parse_signal(args.signal),
        method=None if args.stop_method is None else words.parse_method(args.stop_method),
        command=None if args.stop_command is None else words.parse_command(args.stop_command),
        on_paused=OnPaused(args.paused),
        kill_timeout_s=parse_seconds(args.kill_timeout, what="kill timeout", allow_no_limit=False),
        extend=getattr(args, "extend", False),
    )
