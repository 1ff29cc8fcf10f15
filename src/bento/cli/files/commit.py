"""``bento commit``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, end_cleanly, say
from bento.engine.files.commit import CommitOptions


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add("-c", "--change", action="append", default=[], metavar="INSTRUCTION", help="as of import")
    add("-m", "--message", default="", metavar="TEXT", help="a comment for the image's history")
    add("-a", "--author", default="", metavar="TEXT", help="the author's name")
    parser.add_argument("-p", "--pause", action="store_true", default=True, help="freeze it meanwhile (default)")
    add(
        "-q",
        "--quiet",
        action="store_true",
        help="the id is all there is anyway: taken for the sake of scripts",
    )
    add("container", help="name, id, or the beginning of an id")
    add("name", nargs="?", default="", help="of the image: [REGISTRY/]NAME[:TAG]; without one it has none")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: print the image's id."""
    options = CommitOptions(changes=tuple(args.change), message=args.message, author=args.author, pause=args.pause)
    end_cleanly()
    with context.engine() as engine:
        say(engine.commit(args.container, args.name, options).id)
    return 0
