"""Joining a stop under way (rule S5): the driver listens, later callers move the deadline and wait.

A caller sends one packet, the deadline that it wants; it gets one at once, that it was taken, and one at the end,
the outcome. End of file without that means that the driver is gone: the kernel closes its socket and releases its lock
together. No answer at all means that the driver hangs: then it may be ended (``container_stop``).
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from msgspec import Struct

from bento import clock, packets
from bento.engine.base.outcome import StopOutcome
from bento.engine.stop.driver import StopDriver
from bento.errors import BentoError, CleanupFailed, StuckProcess
from bento.model.stop import StopReport
from bento.stop.inputs import DeadlineMoved

if TYPE_CHECKING:
    from pathlib import Path

    from bento.engine.base.loop import Loop

_SOCKET = "stop.sock"
_PACKET_MAX = 1 << 20
_TAKEN = b"taken"
ANSWER_LIMIT_S: Final = 5.0
"""A driver answers in milliseconds; on a machine that is very busy it may take longer."""


class _Answer(Struct):
    """An outcome as it travels: errors by their code."""

    id: str
    name: str
    report: StopReport | None
    error_code: str
    error_text: str
    error_hint: str


_ERRORS: dict[str, type[BentoError]] = {kind.code: kind for kind in (StuckProcess, CleanupFailed)}


def _encode(outcome: StopOutcome) -> bytes:
    error = outcome.error
    return msgspec.json.encode(
        _Answer(
            id=outcome.id,
            name=outcome.name,
            report=outcome.report,
            error_code=error.code if error else "",
            error_text=error.message if error else "",
            error_hint=error.hint if error else "",
        )
    )


def _decode(packet: bytes) -> StopOutcome:
    answer = msgspec.json.decode(packet, type=_Answer)
    error = None
    if answer.error_code:
        error = _ERRORS.get(answer.error_code, BentoError)(answer.error_text, hint=answer.error_hint)
    return StopOutcome(id=answer.id, name=answer.name, report=answer.report, error=error)


class JoinServer:
    """The driver's side: one socket in the container's run directory."""

    def __init__(self, run_dir: Path, loop: Loop, driver: StopDriver) -> None:
        self._loop, self._driver, self._run_dir = loop, driver, run_dir
        self._clients: set[int] = set()
        run_dir.mkdir(parents=True, exist_ok=True)
        self._listener = packets.listen(run_dir, _SOCKET)
        loop.watch(self._listener, self._accept)

    def _accept(self) -> None:
        client = packets.accept(self._listener)
        if client is not None:
            self._clients.add(client)
            self._loop.watch(client, lambda: self._receive(client))

    def _receive(self, client: int) -> None:
        try:
            packet = os.read(client, _PACKET_MAX)
            if packet:
                moved = msgspec.json.decode(packet, type=DeadlineMoved)
                os.write(client, _TAKEN)
                self._driver.feed(moved)
                return
        except (OSError, msgspec.DecodeError):
            pass
        self._drop(client)  # the caller is gone; the stop goes on

    def _drop(self, client: int) -> None:
        self._loop.unwatch(client)
        self._clients.discard(client)
        os.close(client)

    def publish(self, outcome: StopOutcome) -> None:
        """Answer every caller that has joined, also those still in the queue."""
        while (client := packets.accept(self._listener)) is not None:
            self._clients.add(client)
        answer = _encode(outcome) if self._clients else b""
        for client in self._clients:
            with suppress(OSError):
                os.write(client, answer)

    def close(self) -> None:
        """Stop listening and remove the socket. Idempotent."""
        for client in list(self._clients):
            self._drop(client)
        if self._listener >= 0:
            self._loop.unwatch(self._listener)
            os.close(self._listener)
            self._listener = -1
            with suppress(FileNotFoundError):
                (self._run_dir / _SOCKET).unlink()


class JoinEvents(Protocol):
    """The stop that joined, as the joiner calls it back."""

    def joined_ended(self) -> None:
        """The outcome is there."""

    def joined_lost(self) -> None:
        """The driver is gone without an outcome."""

    def joined_silent(self) -> None:
        """The driver has not answered for ANSWER_LIMIT_S."""


class Joiner:
    """A later caller's side.

    Attributes:
        driver_pid: the process that drives the stop, as the kernel knows it.
        is_taken: the driver has answered that it took the request.
    """

    def __init__(self, connection: int, loop: Loop, events: JoinEvents) -> None:
        self.outcome: StopOutcome | None = None
        self.driver_pid = packets.peer_pid(connection)
        self.is_taken = False
        self._connection, self._loop, self._events = connection, loop, events
        self._alarm = loop.alarm(events.joined_silent)
        self._alarm.set(clock.mono_s() + ANSWER_LIMIT_S)
        loop.watch(connection, self._receive)

    @classmethod
    def connect(cls, run_dir: Path, loop: Loop, moved: DeadlineMoved, events: JoinEvents) -> Joiner | None:
        """Join the stop under way; None when no driver listens, yet or any more, or too many wait: look again soon."""
        connection = -1
        try:
            connection = packets.connect(run_dir, _SOCKET, wait=False)
            os.write(connection, msgspec.json.encode(moved))
        except OSError:
            if connection >= 0:
                os.close(connection)
            return None
        return cls(connection, loop, events)

    def _receive(self) -> None:
        try:
            packet = os.read(self._connection, _PACKET_MAX)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if packet:
            self.is_taken = True
            self._alarm.set(None)
            if packet != _TAKEN:
                self.outcome = _decode(packet)
                self._events.joined_ended()
            return
        self.close()
        self._events.joined_lost()

    def close(self) -> None:
        """Leave; the stop goes on. Idempotent."""
        self._alarm.set(None)
        if self._connection >= 0:
            self._loop.unwatch(self._connection)
            os.close(self._connection)
            self._connection = -1
