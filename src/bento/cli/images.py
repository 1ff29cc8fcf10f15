"""``bento images``."""

from __future__ import annotations

import argparse

import msgspec

from bento.cli.context import Context, say
from bento.cli.render import ago, size_text, table
from bento.model import reference
from bento.model.image import NO_NAME, Image

_HEADER = ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-q", "--quiet", action="store_true", help="only ids")
    parser.add_argument("--format", choices=("table", "json"), default="table")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    with context.engine() as engine:
        images = engine.images()
    if args.quiet:
        for image in images:
            say(_short(image))
    elif args.format == "json":
        say(msgspec.json.format(msgspec.json.encode(images)).decode())
    else:
        say(table(_HEADER, [row for image in images for row in _rows(image)]))
    return 0


def _rows(image: Image) -> list[tuple[str, ...]]:
    """A line for each name; one for an image without."""
    named = [reference.split(name)[:2] for name in image.names] or [(NO_NAME, NO_NAME)]
    rest = (_short(image), ago(image.created_unix_ns), size_text(image.size_bytes))
    return [(repository, tag or NO_NAME, *rest) for repository, tag in named]


def _short(image: Image) -> str:
    return image.id.removeprefix("sha256:")[:12]
