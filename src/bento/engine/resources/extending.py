"""EXTEND_TIMEOUT_USEC from inside of a container: its program asks for more time while it is stopped (sd_notify(3))."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from bento import clock, packets
from bento.engine.resources.notify_socket import path_of
from bento.stop.inputs import DeadlineMoved

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bento.engine.base.loop import Watcher
    from bento.stop.states import StopState

LIMIT_S: Final = 600.0
"""So much later than by its grace a stop ends at the latest, however often it is asked for more."""
_WORD: Final = b"EXTEND_TIMEOUT_USEC="
_MESSAGE_MAX: Final = 4096
_EACH_TURN: Final = 16  # a program that writes without end does not keep the stops of others waiting
_DIGITS_MAX: Final = 18


def asked_s(message: bytes) -> float | None:
    """Return for how many seconds from now a message asks; None: it does not, or not as it should. Pure."""
    for line in message.split(b"\n"):
        digits = line.removeprefix(_WORD)
        if digits != line and digits.isdigit() and len(digits) <= _DIGITS_MAX:
            return int(digits) / 1e6
    return None


class Extensions:
    """Listens in the place of the monitor while a stop is under way. Close it.

    ``state``: returns the stop's; ``feed`` gets a later deadline.
    """

    def __init__(
        self, run_dir: Path, watcher: Watcher, *, state: Callable[[], StopState], feed: Callable[[DeadlineMoved], None]
    ) -> None:
        self._watcher, self._state, self._feed = watcher, state, feed
        self._fd = -1
        # The directory was made by a start, is below one that is root's alone, and read-only for the container.
        path = path_of(run_dir)
        with suppress(OSError):
            self._fd = packets.receive_at(path.parent, path.name)
            path.chmod(0o777)  # the program may be any user
            watcher.watch(self._fd, self._receive)

    def _receive(self) -> None:
        for _ in range(_EACH_TURN):
            try:
                message = os.read(self._fd, _MESSAGE_MAX)
            except OSError:  # no more for now
                return
            if (more_s := asked_s(message)) is not None:
                self._extend(clock.mono_s() + more_s)

    def _extend(self, until_s: float) -> None:
        """Move the deadline, only ever to later, and up to the limit."""
        state = self._state()
        if state.deadline_s is None or not state.request.may_kill:
            return
        wanted_s = min(until_s, state.began_s + state.request.grace_s + LIMIT_S)
        if wanted_s > state.deadline_s:
            self._feed(DeadlineMoved(wanted_s, extend=True))

    def close(self) -> None:
        """Listen no more. Idempotent."""
        if self._fd >= 0:
            self._watcher.unwatch(self._fd)
            os.close(self._fd)
            self._fd = -1
