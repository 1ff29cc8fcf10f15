"""``bento build``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from bento.cli.context import Context, end_cleanly, say, tell_person
from bento.cli.options import transfer as transfer_options
from bento.docker.words import size_text
from bento.model.transfer import NETWORKS, BuildOptions, TransferProgress
from bento.parse.container import parse_label
from bento.parse.environment import variable

_STDERR = 2


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add(
        "-t",
        "--tag",
        action="append",
        default=[],
        metavar="NAME[:TAG]",
        help="a name for the image, or several",
    )
    add("-f", "--file", default="", metavar="FILE", help="the Containerfile; -: stdin (default: in the context)")
    add(
        "--build-arg",
        action="append",
        default=[],
        metavar="K[=V]",
        help="the value of an ARG; K: this environment's",
    )
    add("--target", default="", metavar="STAGE", help="the stage to build, and none behind it")
    add("--label", action="append", default=[], metavar="K=V", help="a label of the image")
    add("--network", choices=NETWORKS, default=NETWORKS[0], help="what its commands may reach (default host)")
    add("--no-cache", action="store_true", help="run every step anew")
    add("--pull", action="store_true", help="fetch base images although they are here")
    add("--iidfile", metavar="FILE", help="write the image's id there")
    add("-q", "--quiet", action="store_true", help="print the id alone")
    transfer_options.add_platform(parser)
    transfer_options.configure(parser)
    add("context", help="a directory; -: a tar archive of one, or a Containerfile, on stdin")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: print the image's id."""
    options = BuildOptions(
        context="" if args.context == "-" else args.context,
        containerfile=args.file,
        tags=tuple(args.tag),
        build_args=tuple(_pairs(args.build_arg)),
        target=args.target,
        platform=args.platform,
        labels=tuple(map(parse_label, args.label)),
        network=args.network,
        uses_cache=not args.no_cache,
        pull=args.pull,
    )
    access = transfer_options.read(args)
    end_cleanly()
    with context.engine() as engine:
        image = engine.build(
            options,
            access=access,
            output_fd=None if args.quiet else _STDERR,
            on_progress=None if args.quiet else _tell,
        )
    if args.iidfile is not None:
        Path(args.iidfile).write_text(image.id, encoding="ascii")
    say(image.id)
    return 0


def _pairs(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield names and values; a name alone has the caller's value, or none, as in Docker."""
    for word in words:
        name, equals, value = variable(word, os.environ).partition("=")
        if equals:
            yield name, value


def _tell(progress: TransferProgress) -> None:
    """What comes of base images: a line for each layer, between those of the build."""
    if progress.phase == "moved":
        digest = progress.digest.partition(":")[2][:12]
        tell_person(f"{digest}: transferred, {size_text(progress.total_bytes)}")
