"""``bento volume create``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, end_cleanly, say
from bento.errors import UsageError
from bento.model.volume import DRIVER
from bento.parse.container import parse_label


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--label", action="append", default=[], metavar="K=V")
    parser.add_argument("-d", "--driver", default=DRIVER, metavar="D", help=f"{DRIVER}, the only one there is")
    parser.add_argument(
        "-o", "--opt", action="append", default=[], metavar="K=V", help="type, o or device, as mount(8) has them"
    )
    parser.add_argument("--name", dest="named", metavar="NAME", help="the same as NAME alone")
    parser.add_argument("name", nargs="?", help="default: a random name of 64 digits")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: print the volume's name."""
    if args.driver != DRIVER:
        raise UsageError(f"no volume driver {args.driver!r}", hint=f"volumes are directories: the driver is {DRIVER}")
    if args.name is not None and args.named is not None:
        raise UsageError("volume create: two names", hint="give one, with --name or without")
    for text in args.opt:
        if "=" not in text:
            raise UsageError(f"bad option {text!r} of a volume", hint="use type=, o= or device= with a value")
    labels, options = dict(map(parse_label, args.label)), dict(map(parse_label, args.opt))
    end_cleanly()
    with context.engine() as engine:
        say(engine.create_volume(args.name or args.named or "", labels=labels, options=options).name)
    return 0
