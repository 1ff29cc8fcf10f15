"""``bento import``."""

from __future__ import annotations

import argparse
from pathlib import Path

from bento.cli.context import Context, say
from bento.errors import UsageError
from bento.model.image import ImageConfig
from bento.oci.change import apply_changes


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "-c", "--change", action="append", default=[], metavar="INSTRUCTION",
        help="CMD, ENTRYPOINT, ENV, WORKDIR, USER, STOPSIGNAL, LABEL, EXPOSE or VOLUME, as in a Dockerfile",
    )  # fmt: skip
    parser.add_argument("source", help="a directory, a tar archive, or - for one on stdin")
    parser.add_argument("name", help="the image's name")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: print the image's id."""
    config = apply_changes(ImageConfig(), args.change)
    source = Path(args.source)
    if args.source != "-" and not source.exists():
        raise UsageError(f"{source}: no such file or directory")
    with context.engine() as engine:
        say(engine.import_image(source, args.name, config).id)
    return 0
