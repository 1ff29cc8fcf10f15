"""``bento diff``."""

from __future__ import annotations

import argparse

import msgspec

from bento.cli.context import Context, say
from bento.docker import changes as docker_changes


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("container", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: A, C or D and a path on each line."""
    with context.engine() as engine:
        changes = engine.diff(args.container)
    if args.format == "json":
        say(msgspec.json.format(msgspec.json.encode(docker_changes.document(changes))).decode())
    else:
        for change in changes:
            say(docker_changes.line(change))
    return 0
