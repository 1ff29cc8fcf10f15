"""``bento import``."""

from __future__ import annotations

import argparse
from pathlib import Path

from bento.cli.context import Context, end_cleanly, say
from bento.model.image import ImageConfig
from bento.oci.change import apply_changes


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "-c", "--change", action="append", default=[], metavar="INSTRUCTION",
        help="CMD, ENTRYPOINT, ENV, WORKDIR, USER, STOPSIGNAL, LABEL, EXPOSE or VOLUME, as in a Dockerfile",
    )  # fmt: skip
    parser.add_argument("-m", "--message", default="", metavar="TEXT", help="a comment for the image's history")
    parser.add_argument(
        "--platform", metavar="OS/ARCH[/VARIANT]", default="", help="what it is for (default: this machine's)"
    )
    parser.add_argument("source", help="a directory, a tar archive, or - for one on stdin")
    parser.add_argument("name", nargs="?", default="", help="the image's name; without one it has none")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: print the image's id."""
    config = apply_changes(ImageConfig(), args.change)
    end_cleanly()
    with context.engine() as engine:
        made = engine.import_image(Path(args.source), args.name, config, message=args.message, platform=args.platform)
        say(made.id)
    return 0
