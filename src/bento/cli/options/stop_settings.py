"""The options of ``run`` and ``create`` that say how the container is to be stopped."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bento.cli.options import hooks as hook_options
from bento.cli.options import rules as rule_options
from bento.cli.options.switches import Arguments
from bento.lazy import LazyModule
from bento.model.stop import SignalFrom, StopRules, StopSettings
from bento.stop import methods
from bento.units import parse_seconds, parse_signal

if TYPE_CHECKING:
    from bento.parse import stop
else:  # most containers name neither a method nor a command
    stop = LazyModule("bento.parse.stop")


def configure(group: Arguments) -> None:
    """Add the options; ``--drain`` stands with those of ports."""
    add = group.add_argument
    about = "what stop sends (default: the image's, or SIGTERM); auto: what the program asks for, where that is known"
    add("--stop-signal", type=_signal, metavar="SIG", help=about)
    add(
        "--stop-timeout",
        dest="stop_timeout_s",
        type=lambda text: parse_seconds(text, what="stop timeout"),
        metavar="S",
        help="grace in seconds; -1: never kill (default 10, with --system 90)",
    )
    names = ", ".join(methods.NAMES)
    add("--stop-method", type=lambda text: stop.parse_method(text), metavar="M", help=f"how stop asks PID 1: {names}")
    about = "what stop runs inside (method exec)"
    add("--stop-command", type=lambda text: stop.parse_command(text), metavar="CMD", help=about)
    rule_options.configure(group, prefix="stop-")
    hook_options.configure(group)


def read(args: argparse.Namespace) -> StopSettings:
    """Return what was said. Raises UsageError."""
    return StopSettings(
        signal=args.stop_signal if isinstance(args.stop_signal, int) else None,
        timeout_s=args.stop_timeout_s,
        method=args.stop_method or "",
        command=args.stop_command or "",
        rules=StopRules(**rule_options.read(args), signal_from=rule_options.signal_from(args.stop_signal)),
        drain=args.drain,
        **hook_options.read(args),
    )


def _signal(text: str) -> int | str:
    return text if text == SignalFrom.AUTO.value else parse_signal(text)
