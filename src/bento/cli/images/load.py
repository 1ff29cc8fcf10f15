"""``bento load``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from bento.cli.context import Context, end_cleanly, say
from bento.cli.options import transfer as transfer_options
from bento.cli.options.layers import LayerScreen
from bento.errors import UsageError
from bento.model import reference


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    transfer_options.add_platform(parser)
    parser.add_argument("-i", "--input", default="-", metavar="FILE", help="an archive; - is stdin (default)")
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: print what each image is called."""
    if args.input == "-" and os.isatty(0):
        raise UsageError("there is no archive: stdin is a terminal", hint="use -i FILE, or a pipe")
    end_cleanly()
    screen = None if args.quiet else LayerScreen()
    with context.engine() as engine:
        try:
            loaded = engine.load(Path(args.input), platform=args.platform, on_progress=screen)
        finally:
            if screen is not None:
                screen.close()
    for each in loaded:
        say(f"Loaded image: {reference.familiar(each.name) if each.name else each.image.id}")
    return 0
