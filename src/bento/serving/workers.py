"""Workers: processes that carry out a job each, and go on with it when the server ends, or are told to break it off.

They are started by posix_spawn(3), never forked: the server has threads. One is kept ready, with its modules loaded,
for a while after each job: a stop by a wrapper's script is over in milliseconds, and an interpreter's start is not to
be the longer part of it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Final

import msgspec
from msgspec import Struct

from bento import command, log
from bento.command import Child
from bento.config import Settings
from bento.engine.base.worker import Message
from bento.errors import BentoError
from bento.serving.jobs import encode

READY_S: Final = 60.0
"""So long a worker is kept ready for a job that may come."""
NEXT_AFTER_S: Final = 0.25
"""After a job was handed over the next worker is started. An interpreter's start takes more CPU time than most stops,
which are over by then, or wait; it would take it from them."""
_READ_BYTES: Final = 1 << 16
_REAP_LIMIT_S: Final = 5.0


class Worker:
    """A process that waits for its job, or is at it."""

    def __init__(self, child: Child, ours: socket.socket) -> None:
        self.child, self.ours = child, ours

    def is_alive(self) -> bool:
        """Whether it still waits; one that has ended closes its socket."""
        try:
            return bool(self.ours.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:
            return False


class Workers:
    """Starts workers, and keeps one ready. ``argv``: of a worker, before the number of its descriptor."""

    def __init__(self, settings: Settings, argv: tuple[str, ...]) -> None:
        self._settings, self._argv = settings, argv
        self._loop = asyncio.get_running_loop()
        self._ready: Worker | None = None
        self._at_work: set[socket.socket] = set()
        self._children: set[Child] = set()  # not reaped yet
        self._breakable: set[Child] = set()
        self.is_ended = False
        self._release: asyncio.TimerHandle | None = None

    async def run(self, task: Struct) -> AsyncIterator[Message]:
        """Have a job done; yield what is reported, until the worker has ended. It goes on when this is left.

        Raises MissingTool, KernelError when no worker can be started.
        """
        worker = await self.hand_over(task)
        async for message in self.reports(worker):
            yield message

    async def hand_over(self, task: Struct, fds: Sequence[int] = ()) -> Worker:
        """Have a worker begin with a job, and get these descriptors. ``reports`` of it is to be read to its end.

        A job that gets some has a client that reads what comes of it: ``end`` breaks it off.

        Raises MissingTool, KernelError when no worker can be started.
        """
        worker, self._ready = self._ready, None
        if worker is None or not worker.is_alive():
            worker = self._start()
        line = encode(self._settings, task)
        if fds:
            self._breakable.add(worker.child)
        self._at_work.add(worker.ours)
        try:
            sent = socket.send_fds(worker.ours, [line], fds) if fds else 0  # nothing is in its buffer yet: some goes
            await self._loop.sock_sendall(worker.ours, line[sent:])
        except BaseException:
            self._close(worker)
            raise
        self._loop.call_later(NEXT_AFTER_S, self.prepare)
        return worker

    def say_whole(self, worker: Worker) -> None:
        """Tell a worker that all of the body has been written that it is about to see the end of."""
        with suppress(OSError):
            worker.ours.send(b".", socket.MSG_DONTWAIT)

    async def reports(self, worker: Worker) -> AsyncIterator[Message]:
        """Yield what a worker reports, until it has ended. It goes on when this is left."""
        try:
            rest = b""
            while data := await self._loop.sock_recv(worker.ours, _READ_BYTES):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    yield msgspec.json.decode(line, type=Message)
        finally:
            self._close(worker)

    def _close(self, worker: Worker) -> None:
        self._at_work.discard(worker.ours)
        worker.ours.close()

    def break_off(self, worker: Worker) -> None:
        """Have a worker leave its job undone, if it is at it. Idempotent."""
        self._close(worker)
        self._terminate(worker.child)

    def _terminate(self, child: Child) -> None:
        if child in self._children:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(child.pidfd, signal.SIGTERM)

    def end(self) -> None:
        """Have what is at work be followed no more: it goes on, but for what needs its client. Idempotent."""
        self.is_ended = True
        self.release()
        for child in self._breakable:
            self._terminate(child)
        for ours in self._at_work:
            with suppress(OSError):
                ours.shutdown(socket.SHUT_RD)

    def prepare(self) -> None:
        """Have a worker ready for ``READY_S`` from now on. No error where none can be started, or the end has come."""
        if self.is_ended:
            return
        if self._release is not None:
            self._release.cancel()
        self._release = self._loop.call_later(READY_S, self.release)
        if self._ready is None or not self._ready.is_alive():
            with suppress(BentoError, OSError):
                self._ready = self._start()

    def release(self) -> None:
        """Keep none ready. What is at work goes on. Idempotent."""
        worker, self._ready = self._ready, None
        if worker is not None:
            worker.ours.close()  # it has no job, and ends

    def _start(self) -> Worker:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            fd = command.above_standard(theirs.detach())
            try:
                child = command.spawn(
                    (*self._argv, str(fd)), env=dict(os.environ), capture=False, pass_fds=(fd,), new_session=True
                )
            finally:
                os.close(fd)
        except BaseException:
            ours.close()
            raise
        self._children.add(child)
        self._loop.add_reader(child.pidfd, self._reap, child)
        log.debug(f"worker {child.pid} was started")
        return Worker(child, ours)

    def _reap(self, child: Child) -> None:
        self._children.discard(child)
        self._breakable.discard(child)
        self._loop.remove_reader(child.pidfd)
        child.finish(_REAP_LIMIT_S)
