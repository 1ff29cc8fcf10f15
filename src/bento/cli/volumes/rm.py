"""``bento volume rm``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, complain, say
from bento.errors import BentoError, NotFound


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-f", "--force", action="store_true", help="one that is not there is no error")
    parser.add_argument("volume", nargs="+", help="name")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out; print each name."""
    status = 0
    with context.engine() as engine:
        for name in args.volume:
            try:
                engine.remove_volume(name)
                say(name)
            except BentoError as error:
                if not (args.force and isinstance(error, NotFound)):
                    complain(error)
                    status = max(status, error.exit_code)
    return status
