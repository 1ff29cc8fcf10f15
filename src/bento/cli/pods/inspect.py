"""``bento pod inspect``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context
from bento.cli.options import format as format_options


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    format_options.configure_document(parser)
    parser.add_argument("pod", nargs="+", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: a JSON array with one object for each pod found, or what a template makes of each."""
    with context.engine() as engine:
        return format_options.show_found(args.format, args.pod, engine.inspect_pod)
