"""``bento history``."""

from __future__ import annotations

import argparse

import msgspec

from bento.cli.context import Context, say
from bento.cli.render import ago, cut, one_line, short_image_id, size_text, table
from bento.engine.image_inspect import HistoryStep
from bento.units import rfc3339

_HEADER = ("IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT")
_MISSING = "<missing>"
_CREATED_BY_MAX = 45


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--no-trunc", action="store_true", help="whole ids and commands")
    parser.add_argument("-q", "--quiet", action="store_true", help="only ids")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("image", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    with context.engine() as engine:
        steps = engine.history(args.image)
    if args.quiet:
        for step in steps:
            say(_id(step, is_whole=args.no_trunc))
    elif args.format == "json":
        say(msgspec.json.format(msgspec.json.encode([_record(step) for step in steps])).decode())
    else:
        say(table(_HEADER, [_row(step, is_whole=args.no_trunc) for step in steps]))
    return 0


def _id(step: HistoryStep, *, is_whole: bool) -> str:
    if not step.image_id:
        return _MISSING
    return step.image_id if is_whole else short_image_id(step.image_id)


def _row(step: HistoryStep, *, is_whole: bool) -> tuple[str, ...]:
    created_by = one_line(step.created_by)
    return (
        _id(step, is_whole=is_whole),
        ago(step.created_unix_ns) if step.created_unix_ns else "",
        created_by if is_whole else cut(created_by, _CREATED_BY_MAX),
        size_text(step.size_bytes),
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
