"""``bento events``."""

from __future__ import annotations

import argparse
from typing import Final

import msgspec

from bento import clock
from bento.cli.context import Context, say
from bento.cli.options import format as format_options
from bento.docker import event as docker_event
from bento.parse.times import parse_moment_ns

_JSON: Final = ("json", "{{json .}}")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    when = "2026-01-31T12:00:00Z, Unix seconds, or 10m for ten minutes ago"
    parser.add_argument("--since", metavar="T", help=f"first those that are logged since then: {when}")
    parser.add_argument("--until", metavar="T", help="end then; at once where that is past")
    parser.add_argument("--stream", action="store_true", default=True, help="--stream=false: end with what is logged")
    parser.add_argument(
        "-f",
        "--filter",
        action="append",
        default=[],
        metavar="K=V",
        help="container, event, image, label, network, type or volume",
    )
    format_options.configure(parser, "text", "json")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: a line for each event, as it happens."""
    now = clock.utc()
    since_ns, until_ns = (None if text is None else parse_moment_ns(text, now) for text in (args.since, args.until))
    with (
        context.engine() as engine,
        engine.events(since_ns=since_ns, until_ns=until_ns, filters=args.filter, follow=args.stream) as events,
    ):
        for event in events:
            if args.format in _JSON:
                say(msgspec.json.encode(docker_event.document(event)).decode())
            elif format_options.is_template(args.format):
                format_options.show(args.format, [docker_event.document(event, is_whole=True)])
            else:
                say(docker_event.line(event))
    return 0
