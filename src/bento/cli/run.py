"""``bento run``: detached, or in the foreground with the container's output and exit status."""

from __future__ import annotations

import argparse
import signal
from contextlib import suppress

from bento.cli import create_options
from bento.cli.context import Context, say
from bento.cli.relay import relay
from bento.engine.start import Started
from bento.errors import NotFound, RuntimeFailed, UsageError
from bento.model.container import Container
from bento.wiring import Engine

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-d", "--detach", action="store_true", help="print the id and leave it running")
    create_options.configure(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    options = create_options.read(args)
    if options.restart.name != "no" and not args.detach:
        raise UsageError("--restart needs -d", hint="in the foreground, run ends with the container")
    with context.engine() as engine:
        create_options.provide_image(engine, args)
        cidfile = create_options.Cidfile(args.cidfile)
        try:
            container = engine.create(options)
            with create_options.discarded(engine, container.id):
                cidfile.write(container.id)
                started = None if args.detach else _start(engine, container)
                if started is None:
                    engine.start(container.id)
        except BaseException:
            cidfile.remove()
            raise
        if started is not None:
            return _watch(engine, started)
    say(container.id)
    return 0


def _start(engine: Engine, container: Container) -> Started:
    """Start attached. From now on our signals are the container's; those that come too early are kept for it."""
    started: Started | None = None
    early: list[int] = []

    def pass_on(number: int, _: object) -> None:
        if started is None:
            early.append(number)
        else:
            engine.signal_main(started.container, number)

    for passed_on in _PASSED_ON:
        signal.signal(passed_on, pass_on)
    started = engine.start_attached(container.id)
    for number in early:
        engine.signal_main(started.container, number)
    return started


def _watch(engine: Engine, started: Started) -> int:
    """Pass the output on until the end; return the container's exit status.

    Raises BrokenPipeError when nobody reads it any more: the container goes on as one that was started detached.
    """
    if started.output_fd is not None:
        try:
            relay(started.output_fd)
        except BrokenPipeError:
            engine.leave(started)
            raise
    ended = engine.wait_attached(started)
    if ended.spec.auto_remove:
        with suppress(NotFound):  # somebody else has removed it
            engine.remove(ended.id)
    if ended.exit is None or ended.exit.code is None:
        raise RuntimeFailed(f"container {ended.name} has ended, and nobody saw how", hint="was its monitor killed?")
    return ended.exit.code
