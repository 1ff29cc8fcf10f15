"""``bento push``."""

from __future__ import annotations

import argparse
from pathlib import Path

from bento.cli.context import Context, end_cleanly, say
from bento.cli.options import transfer as transfer_options
from bento.cli.options.layers import LayerScreen


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    transfer_options.configure(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    parser.add_argument("--digestfile", metavar="FILE", help="write the digest there")
    parser.add_argument("image", help="name, id, or the beginning of an id")
    parser.add_argument("destination", nargs="?", default="", help="NAME[:TAG], or a place such as oci:DIR")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: print the digest that the image has over there."""
    access = transfer_options.read(args)
    end_cleanly()
    screen = None if args.quiet else LayerScreen()
    with context.engine() as engine:
        try:
            digest = engine.push(args.image, args.destination, access=access, on_progress=screen)
        finally:
            if screen is not None:
                screen.close()
    if args.digestfile is not None:
        Path(args.digestfile).write_text(digest, encoding="ascii")
    say(digest)
    return 0
