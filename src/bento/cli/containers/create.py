"""``bento create``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context, end_cleanly, say
from bento.cli.options import create as create_options


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    create_options.configure(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: print the new container's id."""
    options = create_options.read(args)
    end_cleanly()
    with context.engine() as engine:
        create_options.provide_image(engine, args)
        cidfile = create_options.Cidfile(args.cidfile)
        try:
            with create_options.discarded(engine) as container_id:
                container = engine.create(options, container_id=container_id)
                cidfile.write(container.id)
        except BaseException:
            cidfile.remove()
            raise
    say(container.id)
    return 0
