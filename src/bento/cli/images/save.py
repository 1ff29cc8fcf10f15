"""``bento save``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from bento.cli.context import Context, end_cleanly
from bento.engine.images.archive import FORMATS
from bento.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "-o", "--output", default="-", metavar="FILE", help="a file or directory; - is stdout (default)"
    )
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0])
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="there is no progress: taken for the sake of scripts"
    )
    parser.add_argument("image", nargs="+", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    is_stdout = args.output == "-"
    if is_stdout and os.isatty(1):
        raise UsageError("save: refusing to write an archive to a terminal", hint="use -o FILE, or a pipe")
    end_cleanly()
    with context.engine() as engine:
        engine.save(args.image, 1 if is_stdout else Path(args.output), args.format)
    return 0
