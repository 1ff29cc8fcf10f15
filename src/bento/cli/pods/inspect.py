"""``bento pod inspect``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, complain
from bento.cli.options import format as format_options
from bento.errors import BentoError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    format_options.configure_document(parser)
    parser.add_argument("pod", nargs="+", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: a JSON array with one object for each pod found, or what a template makes of each."""
    found, status = [], 0
    with context.engine() as engine:
        for ref in args.pod:
            try:
                found.append(engine.inspect_pod(ref))
            except BentoError as error:
                complain(error)
                status = max(status, error.exit_code)
    format_options.show_document(args.format, found)
    return status
