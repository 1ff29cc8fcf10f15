"""``bento network rm``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, complain, say
from bento.errors import BentoError, NotFound


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-f", "--force", action="store_true", help="one that is not there is no error")
    parser.add_argument("network", nargs="+", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out; print each as it was given."""
    status = 0
    with context.engine() as engine:
        for ref in args.network:
            try:
                engine.remove_network(ref)
                say(ref)
            except BentoError as error:
                if not (args.force and isinstance(error, NotFound)):
                    complain(error)
                    status = max(status, error.exit_code)
    return status
