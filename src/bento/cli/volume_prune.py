"""``bento volume prune``."""

from __future__ import annotations

import argparse
import sys

from bento.cli.context import Context, say
from bento.cli.render import size_text
from bento.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-a", "--all", action="store_true", help="those with names, too")
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")
    parser.add_argument("--filter", action="append", default=[], metavar="K=V", help="label or label!")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: print what was removed, and how much room that makes."""
    kind = "all volumes" if args.all else "all anonymous volumes"
    if not args.force and not _is_wanted(f"This removes {kind} that no container has."):
        raise UsageError("nothing was removed", hint="answer y, or use -f")
    with context.engine() as engine:
        pruned = engine.prune_volumes(all=args.all, filters=args.filter)
    if pruned.names:
        say("Deleted Volumes:")
    for name in pruned.names:
        say(name)
    say(f"Total reclaimed space: {size_text(pruned.freed_bytes)}")
    return 0


def _is_wanted(what: str) -> bool:
    sys.stderr.write(f"{what} Continue? [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        sys.stderr.write("\n")
    return answer.strip().lower() in ("y", "yes")
