"""``bento rmi``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, complain, say
from bento.errors import BentoError, NotFound, UsageError
from bento.model import reference


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "-f", "--force", action="store_true", help="by an id: all its names; in use: the name goes, the image stays"
    )
    parser.add_argument("-i", "--ignore", action="store_true", help="one that is not there is no error")
    parser.add_argument("-a", "--all", action="store_true", help="all images, with all their names")
    parser.add_argument("image", nargs="*", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out; print what has lost its name and what is gone, as Docker does."""
    status = 0
    if bool(args.image) == args.all:
        raise UsageError("rmi: name images, or say --all", hint="see bento rmi --help")
    with context.engine() as engine:
        for ref in [image.id for image in engine.images()] if args.all else args.image:
            try:
                removed = engine.remove_image(ref, force=args.force, all_names=args.all)
            except BentoError as error:
                if args.ignore and isinstance(error, NotFound):
                    continue
                complain(error)
                status = max(status, error.exit_code)
                continue
            for name in removed.untagged:
                say(f"Untagged: {reference.familiar(name)}")
            if removed.deleted:
                say(f"Deleted: {removed.deleted}")
    return status
