"""The options of ``run`` and ``create`` about the log."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bento.cli.options.switches import Arguments
from bento.lazy import LazyModule
from bento.model.container import LOG_DRIVERS, LogSettings

if TYPE_CHECKING:
    from bento.parse import logs
else:  # --help does not need it
    logs = LazyModule("bento.parse.logs")


def configure(group: Arguments) -> None:
    """Add the options."""
    add = group.add_argument
    words = ", ".join(LOG_DRIVERS)
    add("--log-driver", type=lambda text: logs.parse_log_driver(text), default=LOG_DRIVERS[0], metavar="D", help=words)
    add("--log-opt", action="append", default=[], metavar="K=V", help="max-size=10m, max-file=3, tag=T (of journald)")


def read(args: argparse.Namespace) -> LogSettings:
    """Return what was said. Raises UsageError."""
    return LogSettings(driver=args.log_driver, **logs.parse_log_options(args.log_opt))
