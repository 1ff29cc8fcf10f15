"""``bento install-unit``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from bento.cli.context import Context, say, tell_person
from bento.engine.lifecycle.serve_units import DIRECTORY, SOCKET, ZYGOTE_SOCKET
from bento.engine.lifecycle.shutdown import UNIT_PATH
from bento.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--prefix", metavar="DIR", help=f"write DIR/{UNIT_PATH} (default DIR: /usr/local)")
    parser.add_argument("--print", action="store_true", help="print it instead")
    parser.add_argument("--serve", action="store_true", help="the socket and the service of bento serve instead")
    parser.add_argument("--zygote", action="store_true", help="the socket and the service of a zygote instead")
    parser.add_argument("--docker-group", metavar="GROUP", help="with --serve: its members may connect")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out; print where the unit is, or the unit."""
    if args.print and args.prefix is not None:
        raise UsageError("install-unit: --print and --prefix exclude each other")
    if args.prefix == "":
        raise UsageError("install-unit: an empty --prefix", hint="name a directory, such as /usr/local")
    if args.serve and args.zygote:
        raise UsageError("install-unit: --serve and --zygote exclude each other", hint="run it once for each")
    if args.docker_group is not None and not args.serve:
        raise UsageError("install-unit: --docker-group is for --serve")
    if args.docker_group == "":
        raise UsageError("install-unit: an empty --docker-group", hint="name a group, such as docker")
    prefix = Path(os.path.abspath(args.prefix or "/usr/local"))
    if args.serve or args.zygote:
        return _install_sockets(args, context, prefix)
    with context.engine() as engine:
        text = engine.install_unit(None if args.print else prefix)
    if args.print:
        say(text.removesuffix("\n"))
    else:
        say(str(prefix / UNIT_PATH))
        tell_person("now: systemctl daemon-reload && systemctl enable --now bento")
    return 0


def _install_sockets(args: argparse.Namespace, context: Context, prefix: Path) -> int:
    place = None if args.print else prefix
    with context.engine() as engine:
        if args.zygote:
            units = engine.install_zygote_units(place)
        else:
            units = engine.install_serve_units(place, args.docker_group or "")
    for name, text in units.items():
        say(f"# {name}\n{text}" if args.print else str(prefix / DIRECTORY / name))
    if not args.print:
        tell_person(
            f"now: systemctl daemon-reload && systemctl enable --now {ZYGOTE_SOCKET if args.zygote else SOCKET}"
        )
    return 0
