"""``bento volume ls``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from bento.cli.context import Context, say
from bento.cli.options import format as format_options
from bento.cli.output.render import table
from bento.docker import volume as docker_volume
from bento.lazy import LazyModule
from bento.model.volume import DRIVER

if TYPE_CHECKING:
    from bento.cli.output.templates import template
else:
    template = LazyModule("bento.cli.output.templates.template")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-q", "--quiet", action="store_true", help="only names")
    format_options.configure_listing(parser)
    parser.add_argument(
        "-f", "--filter", action="append", default=[], metavar="K=V", help="dangling, driver, label, label! or name"
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    with context.engine() as engine:
        volumes = engine.volumes(filters=args.filter)
        described = [engine.describe_volume(volume) for volume in volumes] if args.format != "table" else []
    if args.quiet and args.format == "table":
        for volume in volumes:
            say(volume.name)
    elif format_options.is_template(args.format):
        format_options.show(args.format, map(_fields, described), docker_volume.FIELDS)
    else:
        say(table(("DRIVER", "VOLUME NAME"), [(DRIVER, volume.name) for volume in volumes]))
    return 0


def _fields(described: dict[str, Any]) -> dict[str, object]:
    """What a template is given."""
    return template.with_label(docker_volume.fields(described), described["Labels"])
