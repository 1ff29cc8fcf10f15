"""``bento inspect``."""

from __future__ import annotations

import argparse
from contextlib import suppress
from typing import Any, Final

from bento.cli.context import Context, complain
from bento.cli.options import format as format_options
from bento.errors import BentoError, NotFound
from bento.wiring import Engine

_KINDS: Final = ("container", "image", "network", "volume")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--type", choices=_KINDS, help="look for nothing else (default: each, in turn)")
    parser.add_argument("-s", "--size", action="store_true", help="what a container takes of the disk, too (slow)")
    format_options.configure_document(parser)
    parser.add_argument(
        "name", nargs="+", help="of a container, an image, a network or a volume: name, id, or its beginning"
    )


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
    """A container's name wins over an image's, and that over others, as in Docker."""
    if kind is not None:
        return _look(engine, ref, kind, is_sized=is_sized)
    for each in _KINDS:
        with suppress(NotFound):
            return _look(engine, ref, each, is_sized=is_sized)
    raise NotFound(
        f"no such container, image, network or volume: {ref}", hint="'bento ps -a' and 'bento images' list the first"
    )


def _look(engine: Engine, ref: str, kind: str, *, is_sized: bool) -> dict[str, Any]:
    match kind:
        case "container":
            return engine.inspect(ref, size=is_sized)
        case "image":
            return engine.inspect_image(ref)
        case "network":
            return engine.inspect_network(ref)
        case _:
            return engine.inspect_volume(ref)
