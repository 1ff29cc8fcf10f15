"""``bento attach``."""

from __future__ import annotations

import argparse

from bento.cli.context import Context
from bento.cli.options import terminal as terminal_options
from bento.cli.streams.foreground import Foreground, Streams


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--no-stdin", action="store_true", help="show its output alone, and pass no input on")
    terminal_options.add_sig_proxy(parser)
    terminal_options.add_detach_keys(parser)
    parser.add_argument("container", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out; return the container's exit status, or 0 when it was left."""
    with context.engine() as engine:
        container = engine.get(args.container)
        streams = Streams(
            has_terminal=container.spec.streams.tty,
            has_input=container.spec.streams.stdin_open and not args.no_stdin,
            sig_proxy=args.sig_proxy,
            keys=terminal_options.read_keys(args),
        )
        if container.status.is_live and streams.lacks_terminal():
            return 1
        foreground = Foreground(engine, streams)
        foreground.begin(lambda options: engine.attach(container.id, options))
        return foreground.until_end()
