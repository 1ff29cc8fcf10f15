"""``bento images``."""

from __future__ import annotations

import argparse

import msgspec

from bento.cli.context import Context, say
from bento.cli.render import ago, short_image_id, size_text, table
from bento.engine.image_list import ImageUsage
from bento.model import reference
from bento.model.image import NO_NAME, Image

_HEADER = ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-a", "--all", action="store_true", help="hides nothing: taken for the sake of scripts")
    parser.add_argument("--digests", action="store_true", help="show digests of manifests")
    parser.add_argument("--no-trunc", action="store_true", help="whole ids")
    parser.add_argument("-q", "--quiet", action="store_true", help="only ids")
    parser.add_argument(
        "--filter",
        "-f",
        action="append",
        default=[],
        metavar="K=V",
        help="reference, dangling, label, before, since or until",
    )
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("reference", nargs="?", help="only images of this name or pattern, as --filter reference=")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    filters = [*args.filter, *([f"reference={args.reference}"] if args.reference is not None else [])]
    with context.engine() as engine:
        if args.format == "json" and not args.quiet:
            records = [_record(each) for each in engine.image_usage(filters=filters)]
            say(msgspec.json.format(msgspec.json.encode(records)).decode())
            return 0
        images = engine.images(filters=filters)
    if args.quiet:
        for image in images:
            say(image.id if args.no_trunc else short_image_id(image.id))
    else:
        header = (*_HEADER[:2], "DIGEST", *_HEADER[2:]) if args.digests else _HEADER
        say(table(header, [row for image in images for row in _rows(image, args)]))
    return 0


def _rows(image: Image, args: argparse.Namespace) -> list[tuple[str, ...]]:
    """A line for each name; one for an image without."""
    named = [reference.split(name) for name in image.names] or [(NO_NAME, "", "")]
    image_id = image.id if args.no_trunc else short_image_id(image.id)
    rest = (image_id, ago(image.created_unix_ns), size_text(image.size_bytes))
    return [
        (
            repository,
            tag or NO_NAME,
            *((digest or image.digest or NO_NAME,) if args.digests else ()),
            *rest,
        )
        for repository, tag, digest in named
    ]


def _record(each: ImageUsage) -> dict[str, object]:
    """The library's record, with what is only known beside the other images."""
    record: dict[str, object] = msgspec.to_builtins(each.image)
    return record | {
        "shared_size_bytes": each.shared_bytes,
        "unique_size_bytes": each.unique_bytes,
        "containers": list(each.containers),
    }
