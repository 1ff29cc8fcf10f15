"""``bento images``."""

from __future__ import annotations

import argparse

import msgspec

from bento.cli.context import Context, say
from bento.cli.render import ago, size_text, table

_HEADER = ("REPOSITORY", "IMAGE ID", "CREATED", "SIZE")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-q", "--quiet", action="store_true", help="only ids")
    parser.add_argument("--format", choices=("table", "json"), default="table")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    with context.engine() as engine:
        images = engine.images()
    ids = {image.name: image.id.removeprefix("sha256:")[:12] for image in images}
    if args.quiet:
        for image in images:
            say(ids[image.name])
    elif args.format == "json":
        say(msgspec.json.format(msgspec.json.encode(images)).decode())
    else:
        rows = [(i.name, ids[i.name], ago(i.created_unix_ns), size_text(i.size_bytes)) for i in images]
        say(table(_HEADER, rows))
    return 0
