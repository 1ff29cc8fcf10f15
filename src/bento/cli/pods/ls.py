"""``bento pod ls``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bento.cli.context import Context, say
from bento.cli.options import format as format_options
from bento.cli.output.render import now, table
from bento.docker.pod import FIELDS, fields
from bento.lazy import LazyModule
from bento.units import short_id

if TYPE_CHECKING:
    from bento.cli.output.templates import template
else:
    template = LazyModule("bento.cli.output.templates.template")

_COLUMNS = ("Id", "Name", "Status", "Created", "NumberOfContainers")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-q", "--quiet", action="store_true", help="only ids")
    parser.add_argument("--no-trunc", action="store_true", help="whole ids")
    format_options.configure_listing(parser)
    parser.add_argument(
        "-f",
        "--filter",
        action="append",
        default=[],
        metavar="K=V",
        help="id, label, label!, name, network or status",
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    with context.engine() as engine:
        pods = engine.pods(filters=args.filter)
        counts = {each.id: 0 if args.quiet else len(engine.pod_containers(each.id)) for each in pods}
    shown_at = now()
    rows = [fields(each, shown_at, count=counts[each.id], is_whole=args.no_trunc) for each in pods]
    if args.quiet and args.format == "table":
        for each in pods:
            say(each.id if args.no_trunc else short_id(each.id))
    elif format_options.is_template(args.format):
        labelled = [template.with_label(row, each.settings.labels) for row, each in zip(rows, pods, strict=True)]
        format_options.show(args.format, labelled, FIELDS)
    else:
        header = tuple(FIELDS[name] for name in _COLUMNS)
        say(table(header, [tuple(str(row[name]) for name in _COLUMNS) for row in rows]))
    return 0
