"""``bento network ls``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bento.cli.context import Context, say
from bento.cli.options import format as format_options
from bento.cli.output.render import table
from bento.docker.network import FIELDS, SCOPE, driver_of, fields
from bento.lazy import LazyModule
from bento.units import short_id

if TYPE_CHECKING:
    from bento.cli.output.templates import template
else:
    template = LazyModule("bento.cli.output.templates.template")

_HEADER = ("NETWORK ID", "NAME", "DRIVER", "SCOPE")


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
        help="dangling, driver, id, label, label!, name, scope or type",
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    with context.engine() as engine:
        networks = engine.networks(filters=args.filter)
    ids = {network.name: network.id if args.no_trunc else short_id(network.id) for network in networks}
    if args.quiet and args.format == "table":
        for network in networks:
            say(ids[network.name])
    elif format_options.is_template(args.format):
        rows = [template.with_label(fields(each, is_whole=args.no_trunc), each.labels) for each in networks]
        format_options.show(args.format, rows, FIELDS)
    else:
        say(table(_HEADER, [(ids[name], name, driver_of(name), SCOPE) for name in ids]))
    return 0
