"""``bento volume inspect``."""

from __future__ import annotations

import argparse

import msgspec

from bento.cli.context import Context, complain, say
from bento.errors import BentoError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("volume", nargs="+", help="name")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: a JSON array with one object for each volume found."""
    found, status = [], 0
    with context.engine() as engine:
        for name in args.volume:
            try:
                found.append(engine.inspect_volume(name))
            except BentoError as error:
                complain(error)
                status = max(status, error.exit_code)
    say(msgspec.json.format(msgspec.json.encode(found), indent=4).decode())
    return status
