"""``bento update``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, each
from bento.cli.options import limits as limit_options
from bento.errors import UsageError
from bento.model.create import UpdateOptions
from bento.model.resources import Resources
from bento.parse.container import parse_restart


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    limit_options.configure_changeable(parser)
    parser.add_argument(
        "--restart", type=parse_restart, metavar="POLICY", help="no, on-failure[:N], always or unless-stopped"
    )
    parser.add_argument("container", nargs="+", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out; print each name as it was given, as Docker does."""
    given = {name: getattr(args, name, None) for name in Resources.__struct_fields__}
    asked = Resources(**{name: value for name, value in given.items() if value})
    options = UpdateOptions(resources=asked, restart=args.restart)
    if options == UpdateOptions():
        raise UsageError("nothing to change was given", hint="see bento update --help")

    def act(ref: str) -> str:
        engine.update(ref, options)
        return ref

    with context.engine() as engine:
        return each(args.container, act)
