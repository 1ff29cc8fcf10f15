"""``bento cp``."""

from __future__ import annotations

import argparse
import os

from bento.cli.context import Context, end_cleanly
from bento.engine.files.copying import CopyOptions
from bento.errors import UsageError
from bento.parse.places import parse_copy_place

_STREAM = "-"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-a", "--archive", action="store_true", help="keep owners, set-id bits and device nodes")
    parser.add_argument("-L", "--follow-link", action="store_true", help="copy what a link at SOURCE points to")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress is ever shown: for scripts")
    parser.add_argument("source", help="CONTAINER:PATH, a path here, or - for a tar archive on stdin")
    parser.add_argument("target", help="the same; - writes a tar archive to stdout")
    parser.add_argument("more", nargs="*", default=[], help=argparse.SUPPRESS)


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    if args.more:
        raise UsageError("cp takes two paths, SOURCE and TARGET", hint="copy one after the other, or a directory")
    source_ref, source = parse_copy_place(args.source)
    target_ref, target = parse_copy_place(args.target)
    if bool(source_ref) == bool(target_ref):
        words = "both are" if source_ref else "neither is"
        raise UsageError(f"cp: {words} in a container", hint="one of them is CONTAINER:PATH, the other a path here")
    options = CopyOptions(archive=args.archive, follow=args.follow_link)
    if target == _STREAM and os.isatty(1):
        raise UsageError("cp: refusing to write an archive to a terminal", hint="redirect stdout, or name a target")
    end_cleanly()
    with context.engine() as engine:
        if source_ref and target == _STREAM:
            engine.archive_out(source_ref, source, 1, options)
        elif source_ref:
            engine.copy_out(source_ref, source, target, options)
        elif source == _STREAM:
            engine.archive_in(target_ref, 0, target)
        else:
            engine.copy_in(target_ref, source, target, options)
    return 0
