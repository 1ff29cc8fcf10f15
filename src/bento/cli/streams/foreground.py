"""A container in the foreground: its streams, its signals and its exit status are this command's."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from bento.cli.context import end_cleanly, tell_person
from bento.cli.streams.relay import Relay
from bento.cli.streams.stdin import Detached
from bento.errors import NotFound, RuntimeFailed
from bento.lazy import LazyModule
from bento.model.container import Container
from bento.model.terminal import AttachOptions
from bento.wiring import Engine

if TYPE_CHECKING:
    from bento.cli.streams import terminal
    from bento.engine.lifecycle.start import Started
else:  # most containers have none
    terminal = LazyModule("bento.cli.streams.terminal")

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_PATIENCE = 3  # Docker's client gives up at the third, too
GIVEN_UP = 1  # and exits so


class GivenUp(Exception):
    """Ctrl-C was pressed for the third time at a program that does not take it."""


class Streams(Struct, frozen=True, kw_only=True):
    """What is asked of our streams. ``keys``: what detaches, at a terminal."""

    has_terminal: bool = False  # the container's are one
    has_input: bool = False
    sig_proxy: bool = True
    keys: bytes = b""

    def lacks_terminal(self) -> bool:
        """Say so where the input is to be that of a terminal, and ours is none; as Docker's client does."""
        if not (self.has_terminal and self.has_input) or terminal.is_terminal():
            return False
        tell_person("bento: the input device is not a TTY")
        return True


class Foreground:
    """Follows one container to its end."""

    def __init__(self, engine: Engine, streams: Streams) -> None:
        self._engine, self._streams = engine, streams
        self._is_raw = streams.has_terminal and streams.has_input
        self._started: Started | None = None
        self._early: list[int] = []
        self._ended: Container | None = None
        self._is_ending = False
        self._unheard = 0

    def begin(self, connect: Callable[[AttachOptions], Started]) -> None:
        """Start or attach. From now on our signals are the container's; those that come too early are kept for it."""
        streams = self._streams
        if streams.sig_proxy:
            for passed_on in PASSED_ON:
                signal.signal(passed_on, self._pass_on)
        else:
            end_cleanly()
        size = terminal.window_size() if streams.has_terminal else None
        self._started = connect(AttachOptions(has_input=streams.has_input, size=size))
        for number in self._early:
            self._engine.signal_main(self._started.container, number)

    def until_end(self) -> int:
        """Pass the streams on until the container has ended, or is left; return the exit status.

        Raises BrokenPipeError when its output has no reader any more: a container that runs goes on as one that was
        started detached.
        """
        started = self._started
        if started is None:
            raise RuntimeFailed("nothing was begun")
        try:
            self._relay(started)
        except (Detached, GivenUp) as reason:
            self._leave(started)
            return GIVEN_UP if isinstance(reason, GivenUp) else 0
        except (BrokenPipeError, KeyboardInterrupt):
            self._leave(started)
            raise
        ended = self._await_end()
        if ended.exit is None or ended.exit.code is None:
            raise RuntimeFailed(f"the exit code of container {ended.name} is not known", hint="was its monitor killed?")
        if ended.exit.oom_killed and ended.exit.code == 128 + signal.SIGKILL:
            limit = f" (-m {ended.spec.resources.memory_bytes / 2**20:g}m)" if ended.spec.resources.memory_bytes else ""
            tell_person(f"bento: the kernel has killed container {ended.name} for want of memory{limit}")
        return ended.exit.code

    def _relay(self, started: Started) -> None:
        attachment = started.attachment
        if attachment is None:
            return
        with ExitStack() as held:
            if self._streams.has_terminal:
                held.enter_context(terminal.resized(attachment.resize))
            if self._is_raw:
                held.enter_context(terminal.raw())
            keys = self._streams.keys if self._is_raw else b""
            Relay(attachment, started.main_fd, self._await_end, keys=keys).run()

    def _leave(self, started: Started) -> None:
        if not self._is_ending:
            self._engine.leave(started)

    def _pass_on(self, number: int, _: object) -> None:
        if self._started is None:
            self._early.append(number)
            return
        container = self._started.container
        if number == signal.SIGINT and self._engine.drops_signal(container, number):
            self._unheard += 1
            if self._unheard == 1:
                tell_person(
                    f"bento: {container.spec.argv[0]} does not take SIGINT in container {container.name}: Ctrl-C twice "
                    f"more leaves it running (bento stop {container.name} ends it)"
                )
            elif self._unheard >= _PATIENCE:
                raise GivenUp
        self._engine.signal_main(container, number)

    def _await_end(self) -> Container:
        """Wait until the container has ended, record it and do what is to follow, once."""
        if self._ended is None and self._started is not None:
            started, self._is_ending = self._started, True
            ended = self._engine.wait_attached(started)
            if started.owns_exit and ended.spec.auto_remove:
                with suppress(NotFound):  # another process has removed it
                    self._engine.remove(ended.id)
            self._ended = ended
            for passed_on in PASSED_ON:  # there is nothing any more that they could be passed on to
                signal.signal(passed_on, signal.SIG_DFL)
        if self._ended is None:
            raise RuntimeFailed("nothing was begun")
        return self._ended
