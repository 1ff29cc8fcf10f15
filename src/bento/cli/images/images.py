"""``bento images``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bento.cli.context import Context, say
from bento.cli.options import format as format_options
from bento.cli.output.render import now, table
from bento.docker.words import Now, ago, image_names, short_image_id, size_text
from bento.lazy import LazyModule
from bento.model.disk import ImageUsage

if TYPE_CHECKING:
    from bento.cli.output.templates import template
    from bento.docker import image as docker_image
else:
    docker_image = LazyModule("bento.docker.image")
    template = LazyModule("bento.cli.output.templates.template")

_HEADER = ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED")


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
    format_options.configure_listing(parser)
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
    shown_at = now()
    if format_options.is_template(args.format):
        fields = [row for each in found for row in _fields(each, shown_at, args)]
        format_options.show(args.format, fields, docker_image.FIELDS, has_header=not args.noheading)
    else:
        header = (*_HEADER[:2], "DIGEST", *_HEADER[2:]) if args.digests else _HEADER
        format_options.say_table(
            table(header, [row for each in found for row in _rows(each, shown_at, args)]), args.noheading
        )
    return 0


def _rows(each: ImageUsage, shown_at: Now, args: argparse.Namespace) -> list[tuple[str, ...]]:
    """A line for each name; one for an image without."""
    image = each.image
    image_id = image.id if args.no_trunc else short_image_id(image.id)
    sizes = (size_text(image.size_bytes), size_text(each.shared_bytes))
    rest = (image_id, ago(image.created_unix_ns, shown_at), *sizes)
    names = image_names(image.names, image.digest)
    return [(repository, tag, *((digest,) if args.digests else ()), *rest) for repository, tag, digest in names]


def _fields(each: ImageUsage, shown_at: Now, args: argparse.Namespace) -> list[dict[str, object]]:
    """What a template is given of each name."""
    rows = docker_image.fields(each, shown_at, is_whole=args.no_trunc)
    return [template.with_label(row, each.image.config.labels) for row in rows]
