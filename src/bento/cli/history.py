"""``bento history``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import msgspec

from bento.cli import format_options
from bento.cli.context import Context, say
from bento.cli.render import ago, cut, one_line, short_image_id, size_text, table
from bento.cli.switches import add_switch
from bento.engine.images.image_inspect import HistoryStep
from bento.lazy import LazyModule
from bento.units import rfc3339

if TYPE_CHECKING:
    from bento.cli.templates import template
else:
    template = LazyModule("bento.cli.templates.template")

_HEADER = ("IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT")
_FIELDS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
    "Author": "AUTHOR",
}
"""What a template is given of each step, and the header of each in a table."""
_MISSING = "<missing>"
_CREATED_BY_MAX = 45


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--no-trunc", action="store_true", help="whole ids and commands")
    add_switch(parser, "-H", "--human", dest="human", default=True, help="sizes and times for people (default)")
    parser.add_argument("-q", "--quiet", action="store_true", help="only ids")
    format_options.configure(parser, "table", "json")
    parser.add_argument("image", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    with context.engine() as engine:
        steps = engine.history(args.image)
    if args.quiet and args.format == "table":
        for step in steps:
            say(_id(step, is_whole=args.no_trunc))
    elif args.format == "json":
        say(msgspec.json.format(msgspec.json.encode([_record(step) for step in steps])).decode())
    elif format_options.is_template(args.format):
        format_options.show(args.format, [_fields(step, args) for step in steps], _FIELDS)
    else:
        say(table(_HEADER, [_row(step, args) for step in steps]))
    return 0


def _id(step: HistoryStep, *, is_whole: bool) -> str:
    if not step.image_id:
        return _MISSING
    return step.image_id if is_whole else short_image_id(step.image_id)


def _row(step: HistoryStep, args: argparse.Namespace) -> tuple[str, ...]:
    created_by = one_line(step.created_by)
    created = ago(step.created_unix_ns) if args.human else rfc3339(step.created_unix_ns)
    return (
        _id(step, is_whole=args.no_trunc),
        created if step.created_unix_ns else "",
        created_by if args.no_trunc else cut(created_by, _CREATED_BY_MAX),
        size_text(step.size_bytes) if args.human else str(step.size_bytes),
        one_line(step.comment),
    )


def _record(step: HistoryStep) -> dict[str, object]:
    return {
        "Id": step.image_id or _MISSING,
        "Created": rfc3339(step.created_unix_ns),
        "CreatedBy": step.created_by,
        "Author": step.author,
        "Comment": step.comment,
        "Size": step.size_bytes,
        "Layer": step.diff_id or None,
    }


def _fields(step: HistoryStep, args: argparse.Namespace) -> dict[str, object]:
    """In the words of Docker's templates."""
    names = ("ID", "CreatedSince", "CreatedBy", "Size", "Comment")
    shown: dict[str, object] = dict(zip(names, _row(step, args), strict=True))
    return shown | {"CreatedAt": template.time_text(step.created_unix_ns), "Author": one_line(step.author)}
