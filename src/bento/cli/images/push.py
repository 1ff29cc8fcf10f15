"""``bento push``."""

from __future__ import annotations

import argparse
from pathlib import Path

from bento.cli.context import Context, each, end_cleanly
from bento.cli.options import transfer as transfer_options
from bento.cli.options.layers import LayerScreen
from bento.errors import UsageError
from bento.model.transfer import Access
from bento.wiring import Engine


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    transfer_options.configure(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    parser.add_argument("-a", "--all-tags", action="store_true", help="every tag of the repository IMAGE")
    parser.add_argument("--digestfile", metavar="FILE", help="write the digest there")
    parser.add_argument("image", help="name, id, or the beginning of an id")
    parser.add_argument("destination", nargs="?", default="", help="NAME[:TAG], or a place such as oci:DIR")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: print the digest that the image has over there."""
    if args.all_tags and (args.destination or args.digestfile is not None):
        raise UsageError("push: --all-tags goes with a repository alone", hint="omit DESTINATION and --digestfile")
    access = transfer_options.read(args)
    end_cleanly()
    with context.engine() as engine:
        names = engine.tags(args.image) if args.all_tags else [args.image]
        return each(names, lambda name: _push(engine, name, args, access))


def _push(engine: Engine, name: str, args: argparse.Namespace, access: Access) -> str:
    """Push one image; return its digest."""
    screen = None if args.quiet else LayerScreen()
    try:
        digest = engine.push(name, args.destination, access=access, on_progress=screen)
    finally:
        if screen is not None:
            screen.close()
    if args.digestfile is not None:
        Path(args.digestfile).write_text(digest, encoding="ascii")
    return digest
