"""Workers: processes that carry out jobs, and go on with them when the server ends, or are told to break them off.

One process forks them (``bento.serving.forker``). A worker that has done its job as it should waits for another one for
a while: to make the pages its own that a job writes to is what a fresh fork spends most of its time on.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from bento.config import Settings
from bento.engine.base.worker import Message
from bento.errors import BentoError
from bento.serving.forker import Forker, Worker
from bento.serving.jobs import DONE, encode

T = TypeVar("T")

READY_S: Final = 60.0
"""So long a worker is kept ready for a job that may come."""
_READ_BYTES: Final = 1 << 16
_END_LIMIT_S: Final = 10.0


class Work:
    """A job that a worker is at, or was at."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.messages: asyncio.Queue[Message | None] = asyncio.Queue()  # None: there are no more


class Workers:
    """Has jobs done. ``argv``: of what forks workers, see ``Forker``. The calls are for the loop."""

    def __init__(self, settings: Settings, argv: tuple[str, ...]) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._forker = Forker(argv)
        self._ready: Worker | None = None
        self._release: asyncio.TimerHandle | None = None
        self._at_work: set[Worker] = set()
        self._breakable: set[Worker] = set()
        self._handing: set[asyncio.Task[Work]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.is_ended = False

    def start(self) -> None:
        """Have the process started that forks workers: its code is this server's. Raises MissingTool, KernelError."""
        self._forker.start()

    async def run(self, task: Struct) -> AsyncIterator[Message]:
        """Have a job done; yield what is reported, until it is done. It is done also when this is left, or cancelled.

        Raises MissingTool, KernelError when no worker can be started.
        """
        handing = self._apart(self._hand_over(task, (), is_breakable=False))
        self._handing.add(handing)
        handing.add_done_callback(self._handing.discard)
        async for message in self.reports(await asyncio.shield(handing)):
            yield message

    async def hand_over(self, task: Struct, fds: Sequence[int]) -> Work:
        """Have a worker begin with a job whose client reads what comes of it, and get these descriptors.

        It is broken off by ``break_off``, and by ``end``. Raises MissingTool, KernelError when none can be started.
        """
        return await self._hand_over(task, fds, is_breakable=True)

    async def _hand_over(self, task: Struct, fds: Sequence[int], *, is_breakable: bool) -> Work:
        worker, self._ready = self._ready, None
        if worker is None or not worker.is_alive():
            if worker is not None:
                worker.close()
            worker = await self._forker.fork()
        work, line = Work(worker), encode(self._settings, task)
        self._at_work.add(worker)
        if is_breakable:
            self._breakable.add(worker)
        try:
            sent = socket.send_fds(worker.ours, [line], fds) if fds else 0  # nothing is in its buffer yet: some goes
            await self._loop.sock_sendall(worker.ours, line[sent:])
        except BaseException:
            self._close(worker)
            raise
        if self.is_ended:
            self._unfollow(worker)
        self._apart(self._follow(work))
        return work

    def say_whole(self, work: Work) -> None:
        """Tell a worker that all of the body has been written that it is about to see the end of."""
        with suppress(OSError):
            work.worker.ours.send(b".", socket.MSG_DONTWAIT)

    async def reports(self, work: Work) -> AsyncIterator[Message]:
        """Yield what a worker reports, until its job is done. It goes on when this is left."""
        while (message := await work.messages.get()) is not None:
            yield message

    async def _follow(self, work: Work) -> None:
        """Take in what a worker reports, whether its client is there or not."""
        worker, rest, is_done = work.worker, b"", False
        try:
            while not is_done and (data := await self._loop.sock_recv(worker.ours, _READ_BYTES)):
                *lines, rest = (rest + data).split(b"\n")
                for message in (msgspec.json.decode(line, type=Message) for line in lines):
                    is_done = message.kind == DONE.kind
                    if not is_done:
                        work.messages.put_nowait(message)
        except OSError:  # it was killed
            pass
        finally:
            work.messages.put_nowait(None)
            if is_done:
                self._at_work.discard(worker)
                self._keep(worker)
            else:
                self._close(worker)

    def _close(self, worker: Worker) -> None:
        self._at_work.discard(worker)
        self._breakable.discard(worker)
        worker.close()

    def break_off(self, work: Work) -> None:
        """Have a worker leave its job undone, if it is at it. Idempotent."""
        work.worker.terminate()

    async def end(self) -> None:
        """Have what is at work be followed no more: it goes on, but for what needs its client. Idempotent.

        Returns once what was asked for by then has been handed over.
        """
        self.is_ended = True
        self.release()
        if self._handing:
            await asyncio.wait(self._handing, timeout=_END_LIMIT_S)
        for worker in self._breakable:
            worker.terminate()
        for worker in self._at_work:
            self._unfollow(worker)

    def _unfollow(self, worker: Worker) -> None:
        with suppress(OSError):
            worker.ours.shutdown(socket.SHUT_RD)

    def prepare(self) -> None:
        """Have a worker ready for ``READY_S`` from now on. No error where none can be started, or the end has come."""
        if self._ready is not None and self._ready.is_alive():
            self._keep(self._ready)
        elif not self.is_ended:
            self._apart(self._prepare())

    async def _prepare(self) -> None:
        with suppress(BentoError, OSError):
            self._keep(await self._forker.fork())

    def _keep(self, worker: Worker) -> None:
        if self.is_ended or (self._ready not in (None, worker) and self._ready.is_alive()):
            worker.close()
            return
        self._ready = worker
        if self._release is not None:
            self._release.cancel()
        self._release = self._loop.call_later(READY_S, self.release)

    def release(self) -> None:
        """Keep none ready. What is at work goes on. Idempotent."""
        worker, self._ready = self._ready, None
        if worker is not None:
            worker.close()  # it has no job, and ends

    def close(self) -> None:
        """Keep neither one ready, nor what forks them. What is at work goes on. Idempotent. Blocks for some ms."""
        self.release()
        self._forker.close()

    def _apart(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Return a task that goes on when its client has left."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
