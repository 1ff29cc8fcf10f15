"""``bento logout``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, say
from bento.errors import UsageError
from bento.model.transfer import Access


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-a", "--all", action="store_true", help="the logins at all registries")
    parser.add_argument("--authfile", metavar="FILE", default="", help="where logins are kept")
    parser.add_argument("registry", nargs="?", default="", help="HOST[:PORT] (default: Docker Hub)")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out. To have been logged in nowhere is no error, as in Docker."""
    if args.all and args.registry:
        raise UsageError("logout: a registry, or --all", hint="see bento logout --help")
    with context.engine() as engine:
        was_there = engine.logout(args.registry, all=args.all, access=Access(authfile=args.authfile))
    where = "all registries" if args.all else args.registry or "docker.io"
    say(f"Removing login credentials for {where}" if was_there else f"Not logged in to {where}")
    return 0
