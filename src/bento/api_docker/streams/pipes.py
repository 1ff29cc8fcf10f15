"""What the engine writes to a descriptor, or reads from one, as the body of an answer, or of a request.

A thread of a pool of its own is at the other end of a pipe. A client that does not read, or does not send, has that
thread wait, and holds up other transfers at most.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from bento.api_docker.http.call import Call
from bento.api_docker.http.replies import Headers, Streamed
from bento.serving.readiness import read_now, readable, writable
from bento.wiring import Engine

T = TypeVar("T")


async def outflow(
    call: Call, write: Callable[[Engine, int], object], *, content_type: str, headers: Headers = ()
) -> Streamed:
    """Return what ``write`` writes to its descriptor as an answer. Raises what it raises before its first byte.

    What goes wrong later cuts the answer short: a client takes what has no end for none.
    """
    flow = _Outflow()
    flow.begin(call, write)
    try:
        await flow.first()
    except BaseException:
        flow.close()
        raise
    return Streamed(chunks=flow.chunks(), content_type=content_type, headers=headers, abandon=flow.close, is_one=True)


class _Outflow:
    def __init__(self) -> None:
        self._fd, self._writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._fd, False)
        self._done: asyncio.Future[None] | None = None
        self._head: bytes | None = None

    def begin(self, call: Call, write: Callable[[Engine, int], object]) -> None:
        def work(engine: Engine) -> None:
            try:
                write(engine, self._writer)
            except BrokenPipeError:
                return
            finally:
                os.close(self._writer)

        self._done = asyncio.ensure_future(call.services.engines.move(work))

    async def first(self) -> None:
        """Wait for the first bytes, or the end. Raises what has come before them."""
        self._head = await self._next()
        if not self._head and self._done is not None:
            await self._done

    async def chunks(self) -> AsyncIterator[bytes]:
        while self._head:
            yield self._head
            self._head = await self._next()
        if self._done is not None:
            await self._done

    async def _next(self) -> bytes:
        while (data := read_now(self._fd)) is None:
            await readable(self._fd)
        return data

    def close(self) -> None:
        """Read no more: what still writes gets an error. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


async def inflow(call: Call, read: Callable[[Engine, int], T]) -> T:
    """Have ``read`` read the body of a request from its descriptor; return what it returns, raise what it raises."""
    fd, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writer, False)

    def work(engine: Engine) -> T:
        try:
            return read(engine, fd)
        finally:
            os.close(fd)

    done = asyncio.ensure_future(call.services.engines.move(work))
    try:
        async for chunk in call.body.chunks():
            if not await write_all(writer, chunk):
                break  # it has read enough, or has failed
    except BaseException:
        done.add_done_callback(lambda done: done.cancelled() or done.exception())  # nothing is left to be told of it
        raise
    finally:
        os.close(writer)
    return await done


async def write_all(fd: int, data: bytes) -> bool:
    """Write all of it to a descriptor that does not block; False where nothing reads it any more."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            await writable(fd)
        except BrokenPipeError:
            return False
    return True
