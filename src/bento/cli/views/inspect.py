"""``bento inspect``."""

from __future__ import annotations

import argparse
from typing import Any

from bento.cli.context import Context, complain
from bento.cli.options import format as format_options
from bento.errors import BentoError, NotFound
from bento.wiring import Engine


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--type", choices=("container", "image"), help="look for nothing else (default: both, in turn)")
    parser.add_argument("-s", "--size", action="store_true", help="what a container takes of the disk, too (slow)")
    format_options.configure_document(parser)
    parser.add_argument("name", nargs="+", help="name, id, or the beginning of an id, of a container or an image")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: a JSON array with one object for each thing found, or what a template makes of each."""
    found, status = [], 0
    with context.engine() as engine:
        for ref in args.name:
            try:
                found.append(_inspect(engine, ref, args.type, is_sized=args.size))
            except BentoError as error:
                complain(error)
                status = max(status, error.exit_code)
    format_options.show_document(args.format, found)
    return status


def _inspect(engine: Engine, ref: str, kind: str | None, *, is_sized: bool) -> dict[str, Any]:
    """A container's name wins over an image's, as in Docker."""
    if kind != "image":
        try:
            return engine.inspect(ref, size=is_sized)
        except NotFound:
            if kind is not None:
                raise
    try:
        return engine.inspect_image(ref)
    except NotFound:
        if kind is not None:
            raise
        raise NotFound(
            f"no such container or image: {ref}", hint="'bento ps -a' and 'bento images' list them"
        ) from None
