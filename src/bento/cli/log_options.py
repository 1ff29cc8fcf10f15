"""The options of ``run`` and ``create`` that say what becomes of the output."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from bento.cli.switches import Arguments
from bento.lazy import LazyModule
from bento.model.container import LOG_DRIVERS

if TYPE_CHECKING:
    from bento.parse import container
else:
    container = LazyModule("bento.parse.container")


def configure(parser: Arguments) -> None:
    """Add the options."""
    add = parser.add_argument
    add("--log-driver", default=LOG_DRIVERS[0], choices=LOG_DRIVERS, help="keep the output (default), or do not")
    add("--log-opt", action="append", default=[], metavar="K=V", help="max-size=10m: the log begins anew before that")


def read(args: argparse.Namespace) -> dict[str, Any]:
    """Return what was said, as fields of CreateOptions. Raises UsageError."""
    return {"log_driver": args.log_driver, "log_max_bytes": container.parse_log_options(args.log_opt)}
