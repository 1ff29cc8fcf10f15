"""``bento system df``."""

from __future__ import annotations

import argparse

import msgspec

from bento.cli import format_options
from bento.cli.context import Context, say
from bento.cli.render import ago, command_text, short_image_id, size_text, status_text, table
from bento.engine.images.image_list import ContainerUsage, DiskUsage, ImageUsage
from bento.model import reference
from bento.model.image import NO_NAME
from bento.units import short_id

_HEADER = ("TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE")
_FIELDS = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}
"""What a template is given of each line, and the header of each in a table."""
_IMAGES = ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS")
_CONTAINERS = ("CONTAINER ID", "IMAGE", "COMMAND", "SIZE", "CREATED", "STATUS", "NAMES")
_VOLUMES = ("VOLUME NAME", "LINKS", "SIZE")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-v", "--verbose", action="store_true", help="each image, container and volume")
    format_options.configure(parser, "table", "json")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    with context.engine() as engine:
        usage = engine.disk_usage()
    if args.format == "json":
        document = _details(usage) if args.verbose else _totals(usage)
        say(msgspec.json.format(msgspec.json.encode(document)).decode())
    elif format_options.is_template(args.format):
        if args.verbose:
            format_options.show(args.format, [_details(usage)])
        else:
            lines = [dict(zip(_FIELDS, _total_row(total), strict=True)) for total in _totals(usage)]
            format_options.show(args.format, lines, _FIELDS)
    elif args.verbose:
        say("Images space usage:\n")
        say(table(_IMAGES, [row for each in usage.images for row in _image_rows(each)]))
        say("\nContainers space usage:\n")
        say(table(_CONTAINERS, [_container_row(each) for each in usage.containers]))
        say("\nLocal Volumes space usage:\n")
        say(table(_VOLUMES, [(v.name, str(len(v.containers)), size_text(v.size_bytes)) for v in usage.volumes]))
    else:
        say(table(_HEADER, [_total_row(total) for total in _totals(usage)]))
    return 0


def _totals(usage: DiskUsage) -> list[dict[str, object]]:
    running = [each for each in usage.containers if each.container.status.is_wanted]
    return [
        {
            "Type": "Images",
            "Total": len(usage.images),
            "Active": sum(bool(each.containers) for each in usage.images),
            "Size": usage.images_bytes,
            "Reclaimable": usage.images_reclaimable_bytes,
        },
        {
            "Type": "Containers",
            "Total": len(usage.containers),
            "Active": len(running),
            "Size": usage.containers_bytes,
            "Reclaimable": usage.containers_reclaimable_bytes,
        },
        {
            "Type": "Local Volumes",
            "Total": len(usage.volumes),
            "Active": sum(bool(each.containers) for each in usage.volumes),
            "Size": usage.volumes_bytes,
            "Reclaimable": usage.volumes_reclaimable_bytes,
        },
    ]


def _total_row(total: dict[str, object]) -> tuple[str, ...]:
    size, reclaimable = (value if isinstance(value := total[key], int) else 0 for key in ("Size", "Reclaimable"))
    share = f" ({100 * reclaimable // size}%)" if size else ""
    return (
        *(str(total[key]) for key in ("Type", "Total", "Active")),
        size_text(size),
        f"{size_text(reclaimable)}{share}",
    )


def _image_rows(each: ImageUsage) -> list[tuple[str, ...]]:
    image = each.image
    rest = (
        short_image_id(image.id),
        ago(image.created_unix_ns),
        size_text(image.size_bytes),
        size_text(each.shared_bytes),
        size_text(each.unique_bytes),
        str(len(each.containers)),
    )
    named = [reference.split(name)[:2] for name in image.names] or [(NO_NAME, NO_NAME)]
    return [(repository, tag or NO_NAME, *rest) for repository, tag in named]


def _container_row(each: ContainerUsage) -> tuple[str, ...]:
    container = each.container
    return (
        short_id(container.id),
        container.spec.image,
        command_text(container),
        size_text(each.size_bytes),
        ago(container.created_unix_ns),
        status_text(container),
        container.name,
    )


def _details(usage: DiskUsage) -> dict[str, object]:
    return {
        "Images": [
            {
                "Id": each.image.id,
                "Names": [reference.familiar(name) for name in each.image.names],
                "Size": each.image.size_bytes,
                "SharedSize": each.shared_bytes,
                "UniqueSize": each.unique_bytes,
                "Containers": list(each.containers),
            }
            for each in usage.images
        ],
        "Containers": [
            {"Id": each.container.id, "Names": [each.container.name], "Size": each.size_bytes}
            for each in usage.containers
        ],
        "Volumes": [
            {"Name": each.name, "Size": each.size_bytes, "Containers": list(each.containers)} for each in usage.volumes
        ],
        "Totals": _totals(usage),
    }
