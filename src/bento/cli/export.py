"""``bento export``."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress

from bento.cli.context import Context
from bento.errors import UsageError

_STREAM = "-"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-o", "--output", default=_STREAM, metavar="F", help="write to a file (default -, stdout)")
    parser.add_argument("container", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out. A file is there when it is whole, or not at all."""
    if args.output == _STREAM:
        if os.isatty(1):
            raise UsageError("export: an archive is nothing for a terminal", hint="redirect stdout, or use -o FILE")
        with context.engine() as engine:
            engine.export(args.container, 1)
        return 0
    if os.path.exists(args.output) and not os.path.isfile(args.output):
        raise UsageError(f"export: {args.output} is no file", hint="name a file, or - for stdout")
    with context.engine() as engine:
        part = f"{args.output}.{os.getpid()}.part"
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            engine.export(args.container, fd)
            os.rename(part, args.output)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(part)
            raise
        finally:
            os.close(fd)
    return 0
