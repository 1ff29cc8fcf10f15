"""The options of ``run`` and ``create`` that say what becomes of the output."""

from __future__ import annotations

import argparse
from typing import Any

from bento.cli.switches import Arguments
from bento.engine.views.logs import DRIVERS
from bento.errors import UsageError
from bento.units import parse_log_size

_MAX_SIZE = "max-size"


def configure(parser: Arguments) -> None:
    """Add the options."""
    add = parser.add_argument
    add("--log-driver", default=DRIVERS[0], choices=DRIVERS, help="keep the output (default), or do not")
    add("--log-opt", action="append", default=[], metavar="K=V", help="max-size=10m: the log begins anew before that")


def read(args: argparse.Namespace) -> dict[str, Any]:
    """Return what was said, as fields of CreateOptions. Raises UsageError."""
    max_bytes = None
    for text in args.log_opt:
        key, equals, value = text.partition("=")
        if key != _MAX_SIZE or not equals:
            raise UsageError(f"unknown log option {text!r}", hint=f"there is {_MAX_SIZE}, such as {_MAX_SIZE}=10m")
        max_bytes = parse_log_size(value)
    return {"log_driver": args.log_driver, "log_max_bytes": max_bytes}
