"""``bento install-unit``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from bento.cli.context import Context, say, tell_person
from bento.engine.lifecycle.shutdown import UNIT_PATH
from bento.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--prefix", metavar="DIR", help=f"write DIR/{UNIT_PATH} (default DIR: /usr/local)")
    parser.add_argument("--print", action="store_true", help="print it instead")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out; print where the unit is, or the unit."""
    if args.print and args.prefix is not None:
        raise UsageError("install-unit: --print and --prefix exclude each other")
    if args.prefix == "":
        raise UsageError("install-unit: an empty --prefix", hint="name a directory, such as /usr/local")
    prefix = Path(os.path.abspath(args.prefix or "/usr/local"))
    with context.engine() as engine:
        text = engine.install_unit(None if args.print else prefix)
    if args.print:
        say(text.removesuffix("\n"))
    else:
        say(str(prefix / UNIT_PATH))
        tell_person("now: systemctl daemon-reload && systemctl enable --now bento")
    return 0
