"""``bento images``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import msgspec

from bento.cli import format_options
from bento.cli.context import Context, say
from bento.cli.render import ago, short_image_id, size_text, table
from bento.engine.images.image_list import ImageUsage
from bento.lazy import LazyModule
from bento.model import reference
from bento.model.image import NO_NAME

if TYPE_CHECKING:
    from bento.cli.templates import template
else:
    template = LazyModule("bento.cli.templates.template")

_HEADER = ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED")
_FIELDS = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
    "Containers": "CONTAINERS",
    "Labels": "LABELS",
}
"""What a template is given of each name of an image, and the header of each in a table."""


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
    parser.add_argument("-n", "--noheading", action="store_true", help="a table without its header")
    format_options.configure(parser, "table", "json")
    parser.add_argument("reference", nargs="?", help="only images of this name or pattern, as --filter reference=")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    filters = [*args.filter, *([f"reference={args.reference}"] if args.reference is not None else [])]
    with context.engine() as engine:
        # As in Docker: only a table gives way to bare ids.
        if args.quiet and args.format == "table":
            for image in engine.images(filters=filters):
                say(image.id if args.no_trunc else short_image_id(image.id))
            return 0
        found = engine.image_usage(filters=filters)
    if args.format == "json":
        say(msgspec.json.format(msgspec.json.encode([_record(each) for each in found])).decode())
    elif format_options.is_template(args.format):
        fields = [row for each in found for row in _fields(each, is_whole=args.no_trunc)]
        format_options.show(args.format, fields, _FIELDS, has_header=not args.noheading)
    else:
        header = (*_HEADER[:2], "DIGEST", *_HEADER[2:]) if args.digests else _HEADER
        format_options.say_table(table(header, [row for each in found for row in _rows(each, args)]), args.noheading)
    return 0


def _rows(each: ImageUsage, args: argparse.Namespace) -> list[tuple[str, ...]]:
    """A line for each name; one for an image without."""
    image = each.image
    image_id = image.id if args.no_trunc else short_image_id(image.id)
    sizes = (size_text(image.size_bytes), size_text(each.shared_bytes))
    rest = (image_id, ago(image.created_unix_ns), *sizes)
    return [(repository, tag, *((digest,) if args.digests else ()), *rest) for repository, tag, digest in _names(each)]


def _names(each: ImageUsage) -> list[tuple[str, str, str]]:
    """Repository, tag and digest of each name."""
    image = each.image
    named = [reference.split(name) for name in image.names] or [(NO_NAME, "", "")]
    return [(repository, tag or NO_NAME, digest or image.digest or NO_NAME) for repository, tag, digest in named]


def _fields(each: ImageUsage, *, is_whole: bool) -> list[dict[str, object]]:
    """In the words of Docker's templates."""
    image = each.image
    common: dict[str, object] = {
        "ID": image.id if is_whole else short_image_id(image.id),
        "CreatedSince": ago(image.created_unix_ns),
        "CreatedAt": template.time_text(image.created_unix_ns),
        "Size": size_text(image.size_bytes),
        "SharedSize": size_text(each.shared_bytes),
        "UniqueSize": size_text(each.unique_bytes),
        "Containers": len(each.containers),
        **template.label_fields(image.config.labels),
    }
    return [
        {"Repository": repository, "Tag": tag, "Digest": digest, **common} for repository, tag, digest in _names(each)
    ]


def _record(each: ImageUsage) -> dict[str, object]:
    """The library's record, with what is only known beside the other images."""
    record: dict[str, object] = msgspec.to_builtins(each.image)
    return record | {
        "shared_size_bytes": each.shared_bytes,
        "unique_size_bytes": each.unique_bytes,
        "containers": list(each.containers),
    }
