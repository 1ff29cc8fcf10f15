"""``bento export``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from bento.cli.context import Context, end_cleanly
from bento.errors import UsageError
from bento.files.whole import replaced

_STREAM = "-"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-o", "--output", default=_STREAM, metavar="F", help="write to a file (default -, stdout)")
    parser.add_argument("container", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out. A file is there when it is whole, or not at all."""
    end_cleanly()
    if args.output == _STREAM:
        if os.isatty(1):
            raise UsageError(
                "export: refusing to write an archive to a terminal", hint="redirect stdout, or use -o FILE"
            )
        with context.engine() as engine:
            engine.export(args.container, 1)
        return 0
    if os.path.exists(args.output) and not os.path.isfile(args.output):
        raise UsageError(f"export: {args.output} is no file", hint="name a file, or - for stdout")
    with context.engine() as engine, replaced(Path(args.output), 0o600) as fd:
        engine.export(args.container, fd)
    return 0
