"""The hook options of run, create, stop and restart (rule S9)."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bento.cli.options.switches import Arguments
from bento.lazy import LazyModule

if TYPE_CHECKING:
    from bento.parse import stop
else:  # most stops have no hooks
    stop = LazyModule("bento.parse.stop")

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
        hook = stop.parse_hook(_KINDS[option_string or ""], str(values))
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
    return {
        "pre_stop": tuple(args.pre_stop or ()),
        "post_stop": tuple(stop.parse_hook("host", command) for command in args.post_stop_host),
        "hook_timeout_s": None if args.hook_timeout is None else stop.parse_hook_timeout(args.hook_timeout),
    }
