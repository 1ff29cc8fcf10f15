"""What stop and its kin take as ``--scope``, and run and create as ``--stop-scope``: how far a stop goes (rule S0)."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from bento.cli.options.switches import Arguments
from bento.model.stop import OnDeaf, OnWrapper, Scope
from bento.units import parse_seconds


def configure(parser: Arguments, *, prefix: str = "") -> None:
    """Add the options. ``prefix`` stands before each of their names."""
    add, dashes = parser.add_argument, f"--{prefix}"
    add(
        f"{dashes}scope",
        dest="rule_scope",
        choices=[each.value for each in Scope],
        help="main: the plain stop, which signals PID 1 alone and looks no further (default auto)",
    )
    add(
        f"{dashes}wrapper",
        dest="rule_wrapper",
        choices=[each.value for each in OnWrapper],
        help="a process that only waits for the program: hold it, or let it continue (default hold)",
    )
    add(
        f"{dashes}deaf",
        dest="rule_deaf",
        choices=[each.value for each in OnDeaf],
        help="a PID 1 that does not receive the signal: end it when idle, end it, or wait (default idle)",
    )
    for name, text in (
        (
            "exit-hold",
            "seconds, at most, that PID 1 is held at its exit for the others (0: off; default: the grace)",
        ),
        (
            "last-call",
            "seconds before the deadline to signal what cannot have got the signal yet (0: off; default 2)",
        ),
        ("start-window", "seconds after start in which PID 1 may still install a handler (default 10)"),
    ):
        words, dest = name.replace("-", " "), f"rule_{name.replace('-', '_')}"
        add(f"{dashes}{name}", dest=dest, type=_seconds(words), metavar="S", help=text)
    add(
        f"{dashes}last-call-all",
        dest="rule_last_call_all",
        action="store_true",
        default=None,
        help="at the last call, signal every process that Bento has not signalled",
    )


def read(args: argparse.Namespace) -> dict[str, Any]:
    """Return what was said, as fields of StopRules."""
    return {
        "scope": None if args.rule_scope is None else Scope(args.rule_scope),
        "on_wrapper": None if args.rule_wrapper is None else OnWrapper(args.rule_wrapper),
        "on_deaf": None if args.rule_deaf is None else OnDeaf(args.rule_deaf),
        "exit_hold_s": args.rule_exit_hold,
        "last_call_s": args.rule_last_call,
        "last_call_all": args.rule_last_call_all,
        "start_window_s": args.rule_start_window,
    }


def _seconds(what: str) -> Callable[[str], float]:
    """Return what reads a time; of it the error names ``what``."""
    return lambda text: parse_seconds(text, what=what, allow_no_limit=False)
