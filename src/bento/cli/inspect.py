"""``bento inspect``."""

from __future__ import annotations

import argparse

import msgspec

from bento.cli.context import Context, complain, say
from bento.errors import BentoError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("container", nargs="+", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: a JSON array with one object for each container found."""
    found, status = [], 0
    with context.engine() as engine:
        for ref in args.container:
            try:
                found.append(engine.inspect(ref))
            except BentoError as error:
                complain(error)
                status = max(status, error.exit_code)
    say(msgspec.json.format(msgspec.json.encode(found), indent=4).decode())
    return status
