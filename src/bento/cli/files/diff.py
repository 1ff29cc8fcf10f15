"""``bento diff``."""

from __future__ import annotations

import argparse

import msgspec

from bento.cli.context import Context, say


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("container", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: A, C or D and a path on each line."""
    with context.engine() as engine:
        changes = engine.diff(args.container)
    if args.format == "json":
        records = [{"Kind": change.kind.value, "Path": change.path} for change in changes]
        say(msgspec.json.format(msgspec.json.encode(records)).decode())
    else:
        for change in changes:
            say(f"{change.kind.letter} {change.path}")
    return 0
