"""``bento run``: detached, or in the foreground with the container's output and exit status."""

from __future__ import annotations

import argparse
import signal
from contextlib import suppress

from bento.cli.context import Context, complain, end_cleanly, say, tell_person
from bento.cli.options import create as create_options
from bento.cli.options import health as health_options
from bento.cli.output.relay import Relay
from bento.engine.lifecycle.start import Started
from bento.errors import DeadlineExceeded, NotFound, RuntimeFailed, Unhealthy, UsageError
from bento.model.container import Container
from bento.wiring import Engine

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-d", "--detach", action="store_true", help="print the id and leave it running")
    health_options.configure_wait(parser)
    create_options.configure(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    options, waiting = create_options.read(args), health_options.Waiting(args)
    args.detach = args.detach or waiting.is_wanted
    if options.restart.name != "no" and not args.detach:
        raise UsageError("--restart needs -d", hint="in the foreground, run ends with the container")
    end_cleanly()
    with context.engine() as engine:
        create_options.provide_image(engine, args)
        cidfile = create_options.Cidfile(args.cidfile)
        try:
            with create_options.discarded(engine) as container_id:
                container = engine.create(options, container_id=container_id)
                cidfile.write(container.id)
                started = None if args.detach else _start(engine, container)
                if started is None:
                    engine.start(container.id)
        except BaseException:
            cidfile.remove()
            raise
        if started is not None:
            return _Watch(engine, started).until_end()
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


class _Watch:
    """Passes the output of a container on, and waits for its end."""

    def __init__(self, engine: Engine, started: Started) -> None:
        self._engine, self._started = engine, started
        self._ended: Container | None = None

    def until_end(self) -> int:
        """Pass the output on until its end; return the container's exit status.

        Raises BrokenPipeError when it has no reader any more: a container that runs goes on as one that was started
        detached.
        """
        started = self._started
        if started.output_fd is not None:
            try:
                Relay(started.output_fd, started.main_fd, self._await_end).run()
            except BrokenPipeError:
                if self._ended is None:
                    self._engine.leave(started)
                    raise
        ended = self._await_end()
        if ended.exit is None or ended.exit.code is None:
            raise RuntimeFailed(f"the exit code of container {ended.name} is not known", hint="was its monitor killed?")
        if ended.exit.oom_killed and ended.exit.code == 128 + signal.SIGKILL:
            limit = f" (-m {ended.spec.memory_bytes / 2**20:g}m)" if ended.spec.memory_bytes else ""
            tell_person(f"bento: the kernel has killed container {ended.name} for want of memory{limit}")
        return ended.exit.code

    def _await_end(self) -> Container:
        """Wait until the container has ended, record it and do what is to follow, once."""
        if self._ended is None:
            self._ended = self._engine.wait_attached(self._started)
            if self._ended.spec.auto_remove:
                with suppress(NotFound):  # another process has removed it
                    self._engine.remove(self._ended.id)
            for passed_on in _PASSED_ON:  # there is nothing any more that they could be passed on to
                signal.signal(passed_on, signal.SIG_DFL)
        return self._ended
