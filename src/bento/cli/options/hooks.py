"""The hook options of run, create, stop and restart (rule S9)."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from bento.cli.options.switches import Arguments
from bento.errors import UsageError
from bento.model.stop import Hook
from bento.units import parse_seconds

_KINDS = {"--pre-stop": "inside", "--pre-stop-host": "host", "--pre-stop-sleep": "sleep"}


class _Append(argparse.Action):
    """Keeps the hooks of all three options in the order in which they were said."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        text, kind = str(values), _KINDS[option_string or ""]
        if kind == "sleep":
            hook = Hook(kind=kind, seconds=parse_seconds(text, what="sleep", allow_no_limit=False))
        else:
            hook = Hook(kind=kind, command=text)
        namespace.pre_stop = [*(namespace.pre_stop or []), hook]


def configure(parser: Arguments) -> None:
    """Add the options."""
    add = parser.add_argument
    add("--pre-stop", action=_Append, dest="pre_stop", metavar="CMD", help="run inside before the signal; repeatable")
    add("--pre-stop-host", action=_Append, dest="pre_stop", metavar="CMD", help="run on the host before the signal")
    add("--pre-stop-sleep", action=_Append, dest="pre_stop", metavar="S", help="wait before the signal")
    add("--post-stop-host", action="append", default=[], metavar="CMD", help="run on the host after the clean-up")
    add("--hook-timeout", metavar="S", help="what each hook may take")


def read(args: argparse.Namespace) -> dict[str, Any]:
    """Return what was said, as fields of CreateOptions and StopOptions. Raises UsageError."""
    limit_s = None
    if args.hook_timeout is not None:
        limit_s = parse_seconds(args.hook_timeout, what="hook timeout", allow_no_limit=False)
        if limit_s == 0:
            raise UsageError("a hook timeout of 0 leaves no time for any hook", hint="give seconds, such as 10 or 0.5")
    return {
        "pre_stop": tuple(args.pre_stop or ()),
        "post_stop": tuple(Hook(kind="host", command=command) for command in args.post_stop_host),
        "hook_timeout_s": limit_s,
    }
