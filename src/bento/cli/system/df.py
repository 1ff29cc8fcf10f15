"""``bento system df``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, say
from bento.cli.options import format as format_options
from bento.cli.output.render import now, table
from bento.docker import disk
from bento.docker.words import Now, ago, command_text, image_names, short_image_id, size_text, status_text
from bento.model.disk import ContainerUsage, ImageUsage
from bento.units import short_id

_IMAGES = ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS")
_CONTAINERS = ("CONTAINER ID", "IMAGE", "COMMAND", "SIZE", "CREATED", "STATUS", "NAMES")
_VOLUMES = ("VOLUME NAME", "LINKS", "SIZE")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-v", "--verbose", action="store_true", help="each image, container and volume")
    format_options.configure_listing(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    with context.engine() as engine:
        usage = engine.disk_usage()
    shown_at = now()
    if format_options.is_template(args.format):
        if args.verbose:
            format_options.show(args.format, [disk.details(usage)])
        else:
            format_options.show(args.format, disk.fields(usage), disk.FIELDS)
    elif args.verbose:
        say("Images space usage:\n")
        say(table(_IMAGES, [row for each in usage.images for row in _image_rows(each, shown_at)]))
        say("\nContainers space usage:\n")
        say(table(_CONTAINERS, [_container_row(each, shown_at) for each in usage.containers]))
        say("\nLocal Volumes space usage:\n")
        say(table(_VOLUMES, [(v.name, str(len(v.containers)), size_text(v.size_bytes)) for v in usage.volumes]))
    else:
        say(table(tuple(disk.FIELDS.values()), [tuple(line.values()) for line in disk.fields(usage)]))
    return 0


def _image_rows(each: ImageUsage, shown_at: Now) -> list[tuple[str, ...]]:
    image = each.image
    rest = (
        short_image_id(image.id),
        ago(image.created_unix_ns, shown_at),
        size_text(image.size_bytes),
        size_text(each.shared_bytes),
        size_text(each.unique_bytes),
        str(len(each.containers)),
    )
    return [(repository, tag, *rest) for repository, tag, _ in image_names(image.names, image.digest)]


def _container_row(each: ContainerUsage, shown_at: Now) -> tuple[str, ...]:
    container = each.container
    return (
        short_id(container.id),
        container.spec.image,
        command_text(container),
        size_text(each.size_bytes),
        ago(container.created_unix_ns, shown_at),
        status_text(container, shown_at),
        container.name,
    )
