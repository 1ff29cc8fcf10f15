"""``bento pull``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, complain, end_cleanly, say, tell_person
from bento.cli.options import transfer as transfer_options
from bento.cli.options.layers import LayerScreen
from bento.errors import BentoError
from bento.model.transfer import Access
from bento.parse.places import ARCHIVES
from bento.wiring import Engine


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    transfer_options.configure(parser)
    transfer_options.add_platform(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    parser.add_argument(
        "image", nargs="+", help="NAME[:TAG|@DIGEST], or a place such as oci:DIR or containers-storage:NAME"
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: print each image's full name, or its id when it has none."""
    access = transfer_options.read(args)
    end_cleanly()
    status = 0
    with context.engine() as engine:
        for source in args.image:
            try:
                for name in pull(engine, source, args.platform, access, is_quiet=args.quiet):
                    say(name)
            except BentoError as error:
                complain(error)
                status = max(status, error.exit_code)
    return status


def pull(engine: Engine, source: str, platform: str, access: Access, *, is_quiet: bool) -> list[str]:
    """Pull one image, or all of an archive; show it on a terminal; return their names."""
    screen = None if is_quiet else LayerScreen()
    try:
        if source.startswith(ARCHIVES):
            pulled = engine.load(source, platform=platform, on_progress=screen)
        else:
            pulled = [engine.pull(source, platform=platform, access=access, on_progress=screen)]
    finally:
        if screen is not None:
            screen.close()
    if not is_quiet:
        for digest in dict.fromkeys(each.image.digest for each in pulled):
            tell_person(f"digest: {digest}")
    return [each.name or each.image.id for each in pulled]
