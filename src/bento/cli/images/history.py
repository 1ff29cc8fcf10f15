"""``bento history``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, say
from bento.cli.options import format as format_options
from bento.cli.output.render import now, table
from bento.docker.image import HISTORY_FIELDS, MISSING, history_fields
from bento.docker.words import Now, ago, cut, one_line, short_image_id, size_text
from bento.model.image import HistoryStep
from bento.units import rfc3339

_HEADER = ("IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT")
_CREATED_BY_MAX = 45


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--no-trunc", action="store_true", help="whole ids and commands")
    parser.add_argument("-H", "--human", action="store_true", default=True, help="sizes and times for people (default)")
    parser.add_argument("-q", "--quiet", action="store_true", help="only ids")
    format_options.configure_listing(parser)
    parser.add_argument("image", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    with context.engine() as engine:
        steps = engine.history(args.image)
    shown_at = now()
    if args.quiet and args.format == "table":
        for step in steps:
            say(_id(step, is_whole=args.no_trunc))
    elif format_options.is_template(args.format):
        format_options.show(
            args.format, [history_fields(step, _row(step, shown_at, args)) for step in steps], HISTORY_FIELDS
        )
    else:
        say(table(_HEADER, [_row(step, shown_at, args) for step in steps]))
    return 0


def _id(step: HistoryStep, *, is_whole: bool) -> str:
    if not step.image_id:
        return MISSING
    return step.image_id if is_whole else short_image_id(step.image_id)


def _row(step: HistoryStep, shown_at: Now, args: argparse.Namespace) -> tuple[str, ...]:
    created_by = one_line(step.created_by)
    created = ago(step.created_unix_ns, shown_at) if args.human else rfc3339(step.created_unix_ns)
    return (
        _id(step, is_whole=args.no_trunc),
        created if step.created_unix_ns else "",
        created_by if args.no_trunc else cut(created_by, _CREATED_BY_MAX),
        size_text(step.size_bytes) if args.human else str(step.size_bytes),
        one_line(step.comment),
    )
