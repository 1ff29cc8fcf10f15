"""``bento container exists``, and the same of images, networks, pods and volumes."""

from __future__ import annotations

import argparse
from typing import Final

from bento.cli.context import Context
from bento.errors import NotFound
from bento.wiring import Engine

_LOOK_UP: Final = {
    "container exists": Engine.get,
    "image exists": Engine.inspect_image,
    "network exists": Engine.inspect_network,
    "pod exists": Engine.pod,
    "volume exists": Engine.inspect_volume,
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    kind = parser.prog.split()[-2]
    help_text = "name" if kind == "volume" else "name, id, or the beginning of an id"
    parser.add_argument("ref", metavar=kind, help=help_text)


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: exit status 0 or 1, and no word."""
    with context.engine() as engine:
        try:
            _LOOK_UP[context.verb](engine, args.ref)
        except NotFound:
            return 1
    return 0
