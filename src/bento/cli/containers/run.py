"""``bento run``: detached, or in the foreground with the container's streams and exit status."""

from __future__ import annotations

import argparse

from bento import sd_notify
from bento.cli.context import Context, complain, end_cleanly, say
from bento.cli.options import create as create_options
from bento.cli.options import health as health_options
from bento.cli.options import terminal as terminal_options
from bento.cli.streams.foreground import Foreground, Streams
from bento.errors import DeadlineExceeded, NotFound, Unhealthy, UsageError
from bento.model.container import Container
from bento.wiring import Engine


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-d", "--detach", action="store_true", help="print the id and leave it running")
    health_options.configure_wait(parser)
    terminal_options.add_sig_proxy(parser)
    terminal_options.add_detach_keys(parser)
    create_options.configure(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    waiting = health_options.Waiting(args)
    args.detach = args.detach or waiting.is_wanted
    options = create_options.read(args)
    if options.restart.name != "no" and not args.detach:
        raise UsageError("--restart needs -d", hint="in the foreground, run ends with the container")
    streams = Streams(
        has_terminal=options.streams.tty,
        has_input=options.streams.stdin_open,
        sig_proxy=args.sig_proxy,
        keys=terminal_options.read_keys(args),
    )
    if not args.detach and streams.lacks_terminal():
        return 1
    end_cleanly()
    if options.sdnotify == "healthy" and not args.detach:
        raise UsageError("--sdnotify healthy needs -d", hint="in the foreground, use conmon or container")
    with context.engine() as engine:
        engine.notify_by(sd_notify.address())
        create_options.provide_image(engine, args)
        cidfile = create_options.Cidfile(args.cidfile)
        foreground = None if args.detach else Foreground(engine, streams)
        try:
            with create_options.discarded(engine) as container_id:
                container = engine.create(options, container_id=container_id)
                cidfile.write(container.id)
                if foreground is None:
                    engine.start(container.id)
                else:
                    foreground.begin(lambda attached: engine.start_attached(container.id, attached))
        except BaseException:
            cidfile.remove()
            raise
        if foreground is not None:
            return foreground.until_end()
        say(container.id)
        return _wait(engine, container, waiting) if waiting.is_wanted else 0


def _wait(engine: Engine, container: Container, waiting: health_options.Waiting) -> int:
    """Wait until it is healthy; it stays as it is when it is not, and the exit status is 1."""
    try:
        engine.wait_healthy(container.id, waiting.left_s())
    except (Unhealthy, DeadlineExceeded, NotFound) as error:
        complain(error)
        return 1
    return 0
